from __future__ import annotations

import ssl

import pytest

from mmtrt.tasks.hub_errors import explained
from mmtrt.tasks.messages import TaskError, TemporaryError


class ConnectError(Exception):
    """Stands for the class of that name in any of the transports."""

    __module__ = "httpx2._exceptions"


def explain(error: Exception, cause: BaseException | None = None) -> TaskError:
    with pytest.raises(TaskError) as caught, explained("a/b", "main", "config.json"):
        raise error from cause
    return caught.value


def test_transport_errors_may_go_away() -> None:
    error = explain(ConnectError("no route to host\nmore"))
    assert isinstance(error, TemporaryError)
    assert (error.code, error.why) == ("NET101", "ConnectError: no route to host")


def test_certificates_do_not_heal() -> None:
    cause = ssl.SSLCertVerificationError(1, "self-signed certificate")
    error = explain(ConnectError("tls"), cause)
    assert (error.code, isinstance(error, TemporaryError)) == ("NET106", False)


def test_full_disk_after_a_retry_is_not_the_network() -> None:
    assert explain(OSError(28, "No space left on device"), ConnectError("earlier")).code == "ART105"


def test_wrong_length_after_a_retry_is_told_as_such() -> None:
    error = explain(OSError("Consistency check failed: file should"), ConnectError("earlier"))
    assert error.code == "NET104"


def test_unknown_errors_stay_themselves() -> None:
    with pytest.raises(ZeroDivisionError), explained("a/b", "main"):
        raise ZeroDivisionError


def test_our_own_failures_stay_themselves() -> None:
    assert explain(TaskError("x", code="ART101")).code == "ART101"
