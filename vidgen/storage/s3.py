"""A bucket of any server that speaks the S3 API, as a Store. The only `import boto3`."""

from __future__ import annotations

import io
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from vidgen.config.run import StorageConfig
from vidgen.errors import AccessDenied, NotFoundInStore, StorageError
from vidgen.storage.base import Stat, Store, check_key
from vidgen.storage.tally import TALLY, Counts

T = TypeVar("T")

_MULTIPART_FROM = 32 * 1024**2  # bytes; smaller objects are one request
_PART_BYTES = 16 * 1024**2
_MAX_PARTS = 10_000  # S3's limit
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 10.0  # seconds between attempts
_READ_TIMEOUT = 60  # seconds

_TRY_AGAIN_STATUS = {408, 425, 429, 500, 502, 503, 504}
_TRY_AGAIN_CODES = {
    "SlowDown",
    "RequestTimeout",
    "InternalError",
    "ServiceUnavailable",
    "Throttling",
}
_REFUSED_CODES = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}


class _ShortBody(Exception):
    """The answer ended before its announced length."""


class _Client:
    """The client of a store and of all below it, made when first needed: that takes a tenth of a
    second of the interpreter. One per process: clients are thread-safe, but must not cross a fork.
    """

    def __init__(self, storage: StorageConfig) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._made: tuple[int, Any] | None = None  # (process id, client)

    def get(self) -> Any:
        with self._lock:
            if self._made is None or self._made[0] != os.getpid():
                self._made = os.getpid(), _new_client(self._storage)
            return self._made[1]


class S3Store(Store):
    """Objects below a prefix of a bucket. Credentials come from boto3's usual chain."""

    def __init__(self, bucket: str, prefix: str = "", storage: StorageConfig | None = None) -> None:
        self.bucket, self.prefix = bucket, prefix
        self.storage = storage or StorageConfig()
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}", bucket):
            raise StorageError(f"'{bucket}' is not a bucket name", expected="s3://bucket/prefix")
        if prefix:
            check_key(prefix, f"s3://{bucket}")
        self._made = _Client(self.storage)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "bucket": self.bucket,
            "prefix": self.prefix,
            "storage": self.storage,
            "url": self.url,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._made = _Client(self.storage)

    def read(self, key: str) -> bytes:
        def get() -> bytes:
            answer = self._client.get_object(Bucket=self.bucket, Key=self._full(key))
            return _body(answer)

        return self._read(get, key)

    def read_range(self, key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        if length == 0:
            return b""
        span = f"bytes={start}-{start + length - 1}"

        def get() -> bytes:
            answer = self._client.get_object(Bucket=self.bucket, Key=self._full(key), Range=span)
            if etag is not None and answer["ETag"].strip('"') != etag:
                raise StorageError(
                    f"{self.where(key)} changed while it was being read",
                    fix="Run the command again.",
                )
            data = _body(answer)
            if len(data) != length:
                total = answer.get("ContentRange", "").rpartition("/")[2]
                if total.isdigit() and int(total) >= start + length:
                    raise _ShortBody(f"{len(data)} of {length} bytes")
                raise StorageError(
                    f"{self.where(key)} has {total or 'too few'} bytes",
                    expected=f"at least {start + length}",
                )
            return data

        return self._read(get, key)

    def write(self, key: str, data: bytes | memoryview | Path) -> None:
        full = self._full(key)
        if isinstance(data, Path):
            size = data.stat().st_size
            if size >= _MULTIPART_FROM:
                self._write_parts(key, data, size)
                return
            data = data.read_bytes()

        def put() -> None:
            body = _Body(data) if isinstance(data, memoryview) else data
            self._client.put_object(Bucket=self.bucket, Key=full, Body=body)

        self._request(put, key)

    def list(self, prefix: str = "") -> Iterator[Stat]:
        full = f"{self.prefix}/{prefix}" if self.prefix else prefix
        strip = len(self.prefix) + 1 if self.prefix else 0
        more: dict[str, str] = {}
        while True:
            page = self._request(
                lambda more=more: self._client.list_objects_v2(  # type: ignore[misc]
                    Bucket=self.bucket, Prefix=full, **more
                ),
                prefix,
            )
            for item in page.get("Contents", ()):
                if not item["Key"].endswith("/"):  # consoles leave these as 'folders'
                    yield Stat(
                        key=item["Key"][strip:], size=item["Size"], etag=item["ETag"].strip('"')
                    )
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def stat(self, key: str) -> Stat:
        answer = self._request(
            lambda: self._client.head_object(Bucket=self.bucket, Key=self._full(key)), key
        )
        return Stat(key=key, size=answer["ContentLength"], etag=answer["ETag"].strip('"'))

    def delete(self, key: str) -> None:
        with suppress(NotFoundInStore):
            self._request(
                lambda: self._client.delete_object(Bucket=self.bucket, Key=self._full(key)), key
            )

    def sub(self, prefix: str) -> S3Store:
        below = S3Store(self.bucket, self._full(prefix.strip("/")), self.storage)
        below._made = self._made
        return below

    def _full(self, key: str) -> str:
        check_key(key, self.url)
        return f"{self.prefix}/{key}" if self.prefix else key

    def _write_parts(self, key: str, path: Path, size: int) -> None:
        """Multipart upload: each part is retried alone; the object appears when all are there."""
        at = {"Bucket": self.bucket, "Key": self._full(key)}
        step = max(_PART_BYTES, -(-size // _MAX_PARTS))
        upload = self._request(lambda: self._client.create_multipart_upload(**at), key)["UploadId"]

        def send(number: int) -> dict[str, Any]:
            with path.open("rb") as file:
                file.seek((number - 1) * step)
                body = file.read(step)
            part = self._request(
                lambda: self._client.upload_part(
                    **at, UploadId=upload, PartNumber=number, Body=body
                ),
                key,
            )
            return {"PartNumber": number, "ETag": part["ETag"]}

        try:
            with ThreadPoolExecutor(4) as pool:
                parts = [*pool.map(send, range(1, -(-size // step) + 1))]
            try:
                self._request(
                    lambda: self._client.complete_multipart_upload(
                        **at, UploadId=upload, MultipartUpload={"Parts": parts}
                    ),
                    key,
                )
            except NotFoundInStore:
                # The answer to a completed upload was lost and the retry finds it gone.
                if self.stat(key).size != size:
                    raise
        except BaseException:
            with suppress(StorageError):  # the first error is the one to show
                self._request(
                    lambda: self._client.abort_multipart_upload(**at, UploadId=upload), key
                )
            raise

    @property
    def _client(self) -> Any:
        return self._made.get()

    def _read(self, get: Callable[[], bytes], key: str) -> bytes:
        with TALLY.reading() as read:
            read.append(self._request(get, key))
        return read[0]

    def _request(self, call: Callable[[], T], key: str) -> T:
        """Run a request; try again with full jitter while the fault may pass."""
        for attempt in range(1, self.storage.attempts + 1):
            TALLY.add(Counts(requests=1, retries=int(attempt > 1)))
            try:
                return call()
            except StorageError:
                raise
            except Exception as error:
                if not _may_pass(error) or attempt == self.storage.attempts:
                    raise self._explain(error, key, attempt) from None
                longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt)
                time.sleep(random.uniform(0, longest))
        raise AssertionError("attempts is at least 1")

    def _explain(self, error: Exception, key: str, attempts: int) -> Exception:
        """The StorageError for what boto3 raised; anything unexpected stays as it is."""
        from botocore import exceptions as boto

        where = self.where(key) if key else self.url
        endpoint = _endpoint(self.storage) or "AWS"
        tries = f" after {attempts} attempts" if attempts > 1 else ""
        if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
            return AccessDenied(
                f"no S3 credentials for {where}",
                fix="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
            )
        if isinstance(error, boto.ClientError):
            code, status = _code(error), _status(error)
            if code == "NoSuchBucket":
                return NotFoundInStore(
                    f"bucket '{self.bucket}' does not exist at {endpoint}",
                    fix="Check its name and storage.endpoint_url, or create it.",
                )
            if code in _REFUSED_CODES or status in (401, 403):
                return AccessDenied(
                    f"{endpoint} refused access to {where} ({code})",
                    fix="Check the credentials in the environment and what they may do.",
                )
            if status == 404:
                return NotFoundInStore(f"{where} does not exist at {endpoint}")
            if status == 416:
                return StorageError(f"{where} is shorter than the range asked for")
            message = error.response.get("Error", {}).get("Message", "")
            return StorageError(f"{endpoint} answered {code} for {where}{tries}: {message}")
        if isinstance(error, boto.EndpointConnectionError | boto.ConnectTimeoutError):
            return StorageError(
                f"cannot reach {endpoint} for {where}{tries}",
                fix="Check storage.endpoint_url (or AWS_ENDPOINT_URL) and the network.",
            )
        if isinstance(error, boto.BotoCoreError | _ShortBody | OSError) or _may_pass(error):
            return StorageError(f"{endpoint} failed for {where}{tries}: {error}")
        return error


class _Body(io.RawIOBase):
    """Memory as a file, which is what boto3 takes beside bytes. What is read is not copied."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    def read(self, size: int = -1) -> bytes:
        end = len(self._data) if size is None or size < 0 else self._at + size
        part = self._data[self._at : end]
        self._at += len(part)
        return part  # type: ignore[return-value]  # as good as bytes to whoever sends or hashes it

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = (0, self._at, len(self._data))[whence]
        self._at = max(0, min(base + offset, len(self._data)))
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _body(answer: dict[str, Any]) -> bytes:
    data: bytes = answer["Body"].read()
    if len(data) != answer["ContentLength"]:
        raise _ShortBody(f"{len(data)} of {answer['ContentLength']} bytes")
    return data


def _endpoint(storage: StorageConfig) -> str | None:
    return (
        storage.endpoint_url
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or None
    )


def _new_client(storage: StorageConfig) -> Any:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    endpoint = _endpoint(storage)
    options: dict[str, Any] = {
        "retries": {"total_max_attempts": 1},  # _request retries
        "max_pool_connections": 32,
        "connect_timeout": 10,
        "read_timeout": _READ_TIMEOUT,
    }
    if endpoint:
        # Servers other than AWS: no wildcard DNS, and often no streaming checksums.
        options["s3"] = {"addressing_style": "path"}
        options["request_checksum_calculation"] = "when_required"
        options["response_checksum_validation"] = "when_required"
    try:
        # A session of our own: boto3's default session is not thread-safe.
        session = boto3.session.Session()
        return session.client(
            "s3",
            endpoint_url=endpoint,
            region_name=session.region_name or "us-east-1",
            config=Config(**options),
        )
    except (BotoCoreError, ValueError) as error:
        raise StorageError(
            f"cannot set up S3 access: {error}",
            fix="Check storage.endpoint_url and the AWS settings of the environment.",
        ) from None


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _may_pass(error: Exception) -> bool:
    """Whether trying again can help."""
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    if isinstance(error, boto.ClientError):
        return _status(error) in _TRY_AGAIN_STATUS or _code(error) in _TRY_AGAIN_CODES
    if isinstance(error, boto.SSLError):
        return False
    return isinstance(
        error,
        boto.ConnectionError
        | boto.HTTPClientError
        | boto.IncompleteReadError
        | ResponseParserError
        | _ShortBody
        | ConnectionError
        | TimeoutError,
    )
