"""The default limits of requests to a server, apart from what enforces them."""

TIMEOUT = 60.0  # seconds
RETRIES = 4
LARGEST = 64  # megabytes of images in a request
