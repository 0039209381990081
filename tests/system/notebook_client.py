"""Runs inside a throw-away host, with the server's own Python: logs in to Jupyter as a person does and executes code in a kernel.

    notebook_client.py URL CA PASSWORD-FILE KERNEL < code     prints what the code prints, then its error if there is one
    notebook_client.py URL CA PASSWORD-FILE id:KERNEL-ID < code         in a kernel that runs already, and goes on
    notebook_client.py URL CA PASSWORD-FILE --start < kernel            starts one and prints its id
    notebook_client.py URL CA PASSWORD-FILE --stop < id:KERNEL-ID       ends it
    notebook_client.py URL CA PASSWORD-FILE --terminal < command

The password is sent only over a connection whose certificate the CA file vouches for.
"""

import base64
import http.cookiejar
import json
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any

import websocket  # type: ignore[import-not-found]  # the server's environment has it


class Session:
    def __init__(self, url: str, ca: str) -> None:
        self.url, self.ca = url, ca
        self.jar = http.cookiejar.CookieJar()
        context = ssl.create_default_context(cafile=ca)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        self.opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor(self.jar)
        )

    def open(self, path: str, body: bytes | None = None, method: str | None = None, **headers: str) -> bytes:
        headers = {"Referer": self.url, **headers}
        if xsrf := self.cookie("_xsrf"):
            headers["X-XSRFToken"] = xsrf
        request = urllib.request.Request(self.url + path, body, headers, method=method)  # noqa: S310 - https, see above
        found: bytes = self.opener.open(request, timeout=60).read()
        return found

    def cookie(self, name: str) -> str | None:
        return next((each.value for each in self.jar if each.name == name), None)

    def login(self, password: str) -> bool:
        self.open("login")
        form = {"password": password, "_xsrf": self.cookie("_xsrf")}
        try:
            self.open("login", urllib.parse.urlencode(form).encode())
        except urllib.error.HTTPError as error:
            assert error.code == 401
        try:
            self.open("api/status")
        except urllib.error.HTTPError as error:
            assert error.code == 403
            return False
        return True

    def execute(self, kernel: str, code: str) -> str:
        """What the code prints, and its error's name and text: in a kernel that runs (``id:...``), or in a fresh one."""
        identity = kernel.removeprefix("id:") if kernel.startswith("id:") else self.start(kernel)
        channel = self.connect(f"api/kernels/{identity}/channels")
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "session": "x",
            "username": "",
            "version": "5.3",
        }
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False, "stop_on_error": True}
        channel.send(
            json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"})
        )
        printed, replied, idle = "", False, False
        while not (replied and idle):  # what is printed comes on another channel than the reply
            message = json.loads(channel.recv())
            if message["parent_header"].get("msg_id") != header["msg_id"]:
                continue
            found = message["content"]
            if message["msg_type"] == "stream":
                printed += found["text"]
            elif message["msg_type"] == "error":
                printed += f"{found['ename']}: {found['evalue']}"
            elif message["msg_type"] == "execute_reply":
                replied = True
            elif message["msg_type"] == "status":
                idle = found["execution_state"] == "idle"
        if not kernel.startswith("id:"):
            self.stop(identity)
        return printed

    def start(self, kernel: str) -> str:
        """The id of a new kernel."""
        return str(json.loads(self.open("api/kernels", json.dumps({"name": kernel}).encode()))["id"])

    def stop(self, identity: str) -> None:
        self.open(f"api/kernels/{identity}", method="DELETE")

    def terminal(self, command: str) -> str:
        """What a shell command prints in a new terminal."""
        name = json.loads(self.open("api/terminals", b"{}"))["name"]
        channel = self.connect(f"terminals/websocket/{name}")
        script = base64.b64encode(command.encode()).decode()
        # the quotes keep the terminal's echo of this line from being taken for what it prints
        line = f"echo be''gun; sh -c \"$(echo {script} | base64 -d)\"; echo en''ded\r"
        channel.send(json.dumps(["stdin", line]))
        seen = ""
        while "ended\r\n" not in seen:
            kind, *rest = json.loads(channel.recv())
            seen += rest[0] if kind == "stdout" else ""
        self.open(f"api/terminals/{name}", method="DELETE")
        return seen.partition("begun\r\n")[2].partition("ended\r\n")[0].replace("\r\n", "\n")

    def connect(self, path: str) -> Any:
        return websocket.create_connection(
            f"{self.url.replace('https', 'wss')}{path}",
            sslopt={"ca_certs": self.ca},
            cookie="; ".join(f"{each.name}={each.value}" for each in self.jar),
            timeout=120,
        )


def main() -> None:
    url, ca, password_file, kernel = sys.argv[1:]
    session = Session(url, ca)
    assert not session.login("not the password")
    with open(password_file) as file:
        assert session.login(file.read().rstrip("\n"))
    told = sys.stdin.read()
    if kernel == "--start":
        print(session.start(told.strip()))
    elif kernel == "--stop":
        session.stop(told.strip().removeprefix("id:"))
    else:
        print(session.terminal(told) if kernel == "--terminal" else session.execute(kernel, told), end="")


if __name__ == "__main__":
    main()
