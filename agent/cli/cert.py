"""The verb `cert`."""

from __future__ import annotations

import argparse
import json
import os

from agent.errors import AgentError, Exit
from agent.host.machine import Host
from agent.kinds.certificate import Certificate
from agent.wanted import want


def cert(options: argparse.Namespace) -> int:
    """Shows each certificate of the spec: what it is for, until when, its fingerprint, and the file that a browser may import."""
    from agent.host import x509

    host = Host()
    wanted = want(os.path.abspath(options.spec), host, trusted_only=False)
    certificates = [each for each in wanted.resources.values() if isinstance(each, Certificate)]
    found = []
    for each in certificates:
        content = host.files.content(os.path.realpath(each.certificate))
        if content is not None:
            trust = f"{each.directory}/trust.pem"
            found.append({"name": each.name, "file": each.certificate, "import": trust, **x509.summary(content)})
    if not found:
        raise AgentError("there is no certificate yet", hint="sudo agent apply")
    if options.json:
        print(json.dumps(found, indent=1))
        return Exit.OK
    for line in found:
        print(f"{line['name']}: {line['file']}")
        print(f"  for          {', '.join(line['for'])}")
        print(f"  until        {line['until']}")
        print(f"  fingerprint  {line['fingerprint']}")
        print(f"  import       {line['import']}   (into the browsers that shall trust this host)")
    return Exit.OK
