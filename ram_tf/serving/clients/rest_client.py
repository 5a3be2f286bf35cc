"""Client of a server over HTTP with JSON, the REST API of TensorFlow Serving."""

import base64
import concurrent.futures
import json
import threading
import time
from http import HTTPStatus

import numpy as np
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from ram_tf.serving.clients.limits import LARGEST, RETRIES, TIMEOUT
from ram_tf.serving.clients.responses import (
    BACKOFF,
    LARGEST_RESPONSE,
    MAX_DOUBLINGS,
    OUTPUTS,
    check_request,
    checked_outputs,
    not_a_prediction,
    too_large_for_server,
    unreachable,
)

# Too many requests, and errors of gateways between client and server.
RETRY_STATUSES = (429, 502, 503, 504)
CONNECTIONS = 64  # kept open between requests
# Parsed values take many times the memory of their text. The largest response holds 3
# million numbers of 9 digits; one million lists are 45 regions of 4,000 images.
MAX_NUMBERS, MAX_LISTS = 6 << 20, 1 << 20
CHUNK = 1 << 16  # bytes
# Raised by NumPy and Python for JSON with other content than expected.
CONTENT_ERRORS = (ValueError, TypeError, LookupError, OverflowError, RecursionError)


class RestClient:
    """Predicts over HTTP with JSON; thread-safe.

    Args:
        url: Address of the model, see `connection.connect`.
        timeout: See `connection.connect`.
        retries: See `connection.connect`.
        largest: See `connection.connect`.

    Call arguments:
        encoded: A list of one or more `bytes`, an image each.

    Returns:
        The dict of `ram_tf.serving.formats.export.serve_bytes`, as NumPy arrays.

    Raises:
        ConnectionError: When called, if the server does not answer.
        TooLargeError: When called, if the client or the server refuses the size.
        ValueError: When called, without an image or if the response is no prediction.
    """

    def __init__(self, url, timeout=TIMEOUT, retries=RETRIES, largest=LARGEST):
        self.url, self.timeout, self.largest = url, timeout, largest
        self.retries = retries
        self.session = requests.Session()
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))

    def __call__(self, encoded):
        check_request(encoded, self.largest)
        instances = [{"b64": base64.b64encode(each).decode()} for each in encoded]
        body = json.dumps({"instances": instances}).encode()
        deadline = time.monotonic() + self.timeout
        try:
            # A socket's own timeout starts again with each byte of the headers.
            response, content = _call_within(self.timeout, self._send, body, deadline)
        except TimeoutError as error:
            late = f"no end within {self.timeout} seconds"
            raise unreachable(self.url, late) from error
        except (requests.RequestException, HTTPError) as error:
            raise unreachable(self.url, error) from error
        if response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise too_large_for_server(self.url, encoded, _error_text(content))
        if response.status_code != HTTPStatus.OK:
            reason = _error_text(content) or response.reason
            raise not_a_prediction(self.url, f"status {response.status_code}, {reason}")
        try:
            rows = _parse_json(content)["predictions"]
            outputs = {name: _to_array([r[name] for r in rows]) for name in OUTPUTS}
        except CONTENT_ERRORS as error:
            raise not_a_prediction(self.url, repr(bytes(content[:200]))) from error
        return checked_outputs(outputs, len(encoded), self.url)

    def _send(self, body, deadline):
        """Sends a request, with retries; returns the response and its content."""
        tries = 0
        while True:
            tries += 1
            wait = BACKOFF * 2 ** min(tries - 1, MAX_DOUBLINGS)
            try:
                with self._post(body, deadline) as response:
                    busy = response.status_code in RETRY_STATUSES
                    if busy:
                        wait = max(wait, Retry().get_retry_after(response.raw) or 0)
                    if not (busy and self._may_retry(tries, wait, deadline)):
                        return response, self._read_content(response, deadline)
            except (requests.ConnectionError, requests.Timeout):
                if not self._may_retry(tries, wait, deadline):
                    raise
            time.sleep(wait)

    def _post(self, body, deadline):
        return self.session.post(
            self.url,
            data=body,
            headers={
                "Content-Type": "application/json",
                # A compressed response may expand to any size.
                "Accept-Encoding": "identity",
            },
            timeout=_seconds_left(deadline),
            # Images must not be sent to a server that the user did not name.
            allow_redirects=False,
            stream=True,
        )

    def _may_retry(self, tries, wait, deadline):
        return tries <= self.retries and time.monotonic() + wait < deadline

    def _read_content(self, response, deadline):
        """Reads the raw body, at most `LARGEST_RESPONSE` bytes before the deadline."""
        content = bytearray()
        while chunk := response.raw.read1(CHUNK, decode_content=False):
            content += chunk
            if len(content) > LARGEST_RESPONSE:
                raise not_a_prediction(self.url, f"more than {LARGEST_RESPONSE} bytes")
            _seconds_left(deadline)
        return content


def _call_within(seconds, function, *arguments):
    """Calls a function; raises a `TimeoutError` if it takes longer.

    A late function continues in a daemon thread, which ends with the program.
    """
    outcome = concurrent.futures.Future()

    def run():
        try:
            outcome.set_result(function(*arguments))
        except BaseException as error:  # raised again in the caller's thread
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(seconds)


def _seconds_left(deadline):
    """Returns the seconds until a deadline, or raises a `TimeoutError`."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _error_text(content):
    """Reads the error from the body of an HTTP response, on one line."""
    try:
        text = str(json.loads(content[:CHUNK])["error"])
    except (ValueError, TypeError, LookupError, RecursionError):
        text = content[:1000].decode(errors="replace")
    return " ".join(text.split())[:200]


def _parse_json(content):
    """Parses JSON, unless it has more values than a valid response can have."""
    lists = sum(map(content.count, (b"[", b"{", b'"')))
    if content.count(b",") > MAX_NUMBERS or lists > MAX_LISTS:
        raise ValueError("too many values")
    return json.loads(content.decode("ascii"))


def _to_array(values):
    """Converts nested lists that hold only numbers, or only booleans."""
    # As an object array: NumPy would give each string the size of the longest.
    array = np.asarray(values, object)
    types = {*map(type, array.flat)}
    if not (types <= {int, float} or types == {bool}):
        raise TypeError("neither numbers nor booleans")
    with np.errstate(over="ignore"):
        return array.astype(bool if types == {bool} else np.float32)
