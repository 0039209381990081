# Written by agent from the sections jupyter and tls of its spec; changes here are undone.
# This is the one file that counts: jupyter_notebook_config.py beside it takes everything from here.
import os
import ssl

c = get_config()  # noqa: F821

c.ServerApp.ip = '192.0.2.7'
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
c.ServerApp.base_url = '/'
c.ServerApp.root_dir = '/home/notebook/notebooks'
c.ServerApp.open_browser = False
c.ServerApp.quit_button = False
c.ServerApp.allow_root = False
c.ServerApp.terminals_enabled = True

# read again at each connection, so a new certificate needs no restart
c.ServerApp.certfile = '/etc/agent/tls/jupyter/cert.pem'
c.ServerApp.keyfile = '/etc/agent/tls/jupyter/key.pem'
c.ServerApp.ssl_options = {"ciphers": 'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305'}

c.PasswordIdentityProvider.hashed_password = <stored:jupyter.password.hash|py>
c.PasswordIdentityProvider.password_required = True
c.PasswordIdentityProvider.allow_password_change = False
# the agent's own, for its health check
c.IdentityProvider.token = <stored:jupyter.token|py>
# outside the runtime directory: people stay logged in over a restart
c.ServerApp.cookie_secret_file = '/var/lib/jupyter/cookie_secret'

# Both are for the server alone and have done their work once TLS is set up; kernels and terminals keep the system's ways.
ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
for name in ("OPENSSL_CONF", "TRAITLETS_APPLICATION_RAISE_CONFIG_FILE_ERROR"):
    os.environ.pop(name, None)
# whole: the server does not start without this line
