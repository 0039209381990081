"""Tests on real Debian hosts, booted with systemd and thrown away."""
