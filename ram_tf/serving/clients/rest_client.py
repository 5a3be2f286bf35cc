"""Asks a server for predictions over HTTP with JSON, TensorFlow Serving's REST API."""

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

from ram_tf.serving.clients.responses import (
    BACKOFF,
    DOUBLED,
    LARGEST,
    LARGEST_ANSWER,
    OUTPUTS,
    RETRIES,
    TIMEOUT,
    check_request,
    checked_outputs,
    refused,
    too_large_for,
    unreachable,
)

# Too many requests, and what stands between us and the server.
TRY_AGAIN = (429, 502, 503, 504)
CONNECTIONS = 64  # kept open between requests
# Values in JSON take many times the memory of their text. With the digits of float32 as
# many bytes hold 3 million numbers, and so many lists are 45 regions of 4,000 images.
NUMBERS, LISTS = 6 << 20, 1 << 20
PART = 1 << 16  # bytes at a time
# What NumPy and Python say of JSON that holds something else than was asked for.
UNFIT = (ValueError, TypeError, LookupError, OverflowError, RecursionError)


class RestClient:
    """Asks over HTTP with JSON. It may be called from several threads.

    Args:
        url: See `connection.connect`.
        timeout: See `connection.connect`.
        retries: See `connection.connect`.
        largest: See `connection.connect`.

    Call arguments:
        encoded: A list of one or more `bytes`, an image each.

    Returns:
        The dict of `ram_tf.serving.export.serve_bytes`, as NumPy arrays.

    Raises:
        ConnectionError: When called, if the server does not answer.
        TooLargeError: When called, if a request is larger than here or there allowed.
        ValueError: When called, if there is no image or the answer is no prediction.
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
            # A socket's timeout begins anew with each byte of the headers.
            answer, content = _within(self.timeout, self._ask, body, deadline)
        except TimeoutError as error:
            late = f"no end within {self.timeout} seconds"
            raise unreachable(self.url, late) from error
        except (requests.RequestException, HTTPError) as error:
            raise unreachable(self.url, error) from error
        if answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise too_large_for(self.url, encoded, _reason(content))
        if answer.status_code != HTTPStatus.OK:
            reason = _reason(content) or answer.reason
            raise refused(self.url, f"status {answer.status_code}, {reason}")
        try:
            rows = _loaded(content)["predictions"]
            outputs = {name: _of_json([r[name] for r in rows]) for name in OUTPUTS}
        except UNFIT as error:
            raise refused(self.url, repr(bytes(content[:200]))) from error
        return checked_outputs(outputs, len(encoded), self.url)

    def _ask(self, body, deadline):
        """Asks until there is an answer, and returns it with its content."""
        tried = 0
        while True:
            tried += 1
            wait = BACKOFF * 2 ** min(tried - 1, DOUBLED)
            try:
                with self._post(body, deadline) as answer:
                    again = answer.status_code in TRY_AGAIN
                    if again:
                        wait = max(wait, Retry().get_retry_after(answer.raw) or 0)
                    if not (again and self._may_wait(tried, wait, deadline)):
                        return answer, self._content(answer, deadline)
            except (requests.ConnectionError, requests.Timeout):
                if not self._may_wait(tried, wait, deadline):
                    raise
            time.sleep(wait)

    def _post(self, body, deadline):
        return self.session.post(
            self.url,
            data=body,
            headers={
                "Content-Type": "application/json",
                # Compressed answers may be of any size.
                "Accept-Encoding": "identity",
            },
            timeout=_left(deadline),
            # Images go to the server that was named.
            allow_redirects=False,
            stream=True,
        )

    def _may_wait(self, tried, wait, deadline):
        return tried <= self.retries and time.monotonic() + wait < deadline

    def _content(self, answer, deadline):
        """The body as it came, within `LARGEST_ANSWER` and the timeout."""
        content = bytearray()
        while part := answer.raw.read1(PART, decode_content=False):
            content += part
            if len(content) > LARGEST_ANSWER:
                raise refused(self.url, f"more than {LARGEST_ANSWER} bytes")
            _left(deadline)
        return content


def _within(seconds, function, *arguments):
    """What a function returns or raises; after so many seconds a `TimeoutError`.

    A function that is late goes on in its thread, which the program's end ends.
    """
    outcome = concurrent.futures.Future()

    def run():
        try:
            outcome.set_result(function(*arguments))
        except BaseException as error:  # the caller's to handle
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(seconds)


def _left(deadline):
    """Seconds until a moment, or a `TimeoutError`."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _reason(content):
    """What the body of an HTTP answer says went wrong, on one line."""
    try:
        text = str(json.loads(content[:PART])["error"])
    except (ValueError, TypeError, LookupError, RecursionError):
        text = content[:1000].decode(errors="replace")
    return " ".join(text.split())[:200]


def _loaded(content):
    """The JSON of an answer that has no more values than a right one may have."""
    lists = sum(map(content.count, (b"[", b"{", b'"')))
    if content.count(b",") > NUMBERS or lists > LISTS:
        raise ValueError("too many values")
    return json.loads(content.decode("ascii"))


def _of_json(values):
    """The array of nested lists that hold nothing but numbers, or but flags."""
    # NumPy would give each text the room of the longest.
    array = np.asarray(values, object)
    kinds = {*map(type, array.flat)}
    if not (kinds <= {int, float} or kinds == {bool}):
        raise TypeError("neither numbers nor flags")
    with np.errstate(over="ignore"):
        return array.astype(bool if kinds == {bool} else np.float32)
