"""Ask the Trivet in this container whether it is ready; end with 1 if it is not. Standard library only."""  # noqa: INP001

import http.client
import os
import ssl
import sys

# The answer comes from this very container, and holds nothing that must be believed.
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
port = int(os.environ.get("TRIVET_PORT") or "8443")
connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=4, context=context)
try:
    connection.request("GET", "/readyz")
    status = connection.getresponse().status
except (OSError, http.client.HTTPException) as error:
    sys.exit(f"not ready: {error}")
if status != http.client.OK:
    sys.exit(f"not ready: {status}")
