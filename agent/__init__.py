"""Keeps one Linux host in the state that one YAML file describes."""

VERSION = "0.1.0"
