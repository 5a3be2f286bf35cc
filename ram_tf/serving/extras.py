"""Optional dependencies: the error that names the extra to install."""

import contextlib


@contextlib.contextmanager
def required(extra, feature):
    """Wraps imports of optional packages.

    Args:
        extra: The extra of setup.cfg that installs them.
        feature: What needs it, as the subject of a sentence.

    Raises:
        ModuleNotFoundError: A package is missing; the message names the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{feature} needs the extra {extra}. Expected: pip install "
            f'-e ".[{extra}]". Received: {error}'
        ) from error
