"""A Kubernetes API server over real HTTP, as far as vidgen-cloud uses one.

It keeps objects, answers as the recordings of a real server do (Status bodies, 409 AlreadyExists,
404 texts for missing groups), streams watches, forwards ports over websockets to real TCP ports,
and fails on demand. Every request is written down, so tests can say what was not done.
"""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

Obj = dict[str, Any]
Fault = Callable[[str, str], "tuple[int, Obj | str] | str | None"]
KNOWN_GROUPS = {"ray.io", "kueue.x-k8s.io", "authorization.k8s.io", "apiextensions.k8s.io"}


def status(code: int, reason: str, message: str, **details: str) -> Obj:
    """A Status object as API servers send it."""
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
        **({"details": details} if details else {}),
    }  # fmt: skip


class FakeKubernetes:
    """One cluster. Objects live in `objects[(plural, namespace, name)]`, cluster-wide ones too."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.objects: dict[tuple[str, str, str], Obj] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.fault: Fault | None = None
        self.logs: dict[tuple[str, str, bool], str] = {}
        self.ports: dict[tuple[str, int], int] = {}  # (pod, port) -> local port
        self.allowed: Callable[[Obj], bool] = lambda attributes: True
        self.on_patch: Callable[[Obj], None] | None = None
        self.groups = set(KNOWN_GROUPS)
        self._version = 1000
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._history: list[tuple[int, str, str, Obj]] = []
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(10)

    # -- what tests do ---------------------------------------------------------------------------

    def put(self, plural: str, obj: Obj) -> Obj:
        """Create or replace an object, as the operator or the kubelet would."""
        meta = obj["metadata"]
        with self._changed:
            self._version += 1
            meta = {
                "uid": str(uuid.uuid4()),
                "creationTimestamp": "2026-11-20T23:00:00Z",
                **meta,
                "namespace": meta.get("namespace", self.namespace),
                "resourceVersion": str(self._version),
            }
            obj = {**obj, "metadata": meta}
            key = (plural, meta["namespace"], meta["name"])
            kind = "MODIFIED" if key in self.objects else "ADDED"
            self.objects[key] = obj
            self._history.append((self._version, plural, kind, obj))
            self._changed.notify_all()
        return obj

    def remove(self, plural: str, name: str) -> None:
        with self._changed:
            self._version += 1
            gone = self.objects.pop((plural, self.namespace, name), None)
            if gone is not None:
                self._history.append((self._version, plural, "DELETED", gone))
            self._changed.notify_all()

    def get(self, plural: str, name: str) -> Obj:
        return self.objects[plural, self.namespace, name]

    def names(self, plural: str) -> list[str]:
        return sorted(name for kind, _, name in self.objects if kind == plural)

    def did(self, method: str) -> list[str]:
        """Paths of the requests made with a method."""
        return [path for made, path, _ in self.requests if made == method]

    def write_kubeconfig(self, path: Path, token: str = "example-token") -> Path:
        cluster = {"cluster": {"server": self.url}, "name": "fake"}
        context = {"cluster": "fake", "user": "me", "namespace": self.namespace}
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1", "kind": "Config", "current-context": "fake",
                    "clusters": [cluster], "contexts": [{"context": context, "name": "fake"}],
                    "users": [{"name": "me", "user": {"token": token}}],
                }
            )
        )  # fmt: skip
        return path

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        await self._runner.cleanup()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    # -- HTTP ------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        assert runner.addresses
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._started.set()
        self._loop.run_forever()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = "/" + request.match_info["path"]
        self.requests.append((request.method, path, dict(request.query)))
        if self.fault is not None:
            made = self.fault(request.method, path)
            if made == "hang":
                await asyncio.sleep(3600)
            if made == "drop":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            if made is not None and not isinstance(made, str):
                code, body = made
                if isinstance(body, str):
                    return web.Response(status=code, text=body)
                return web.json_response(body, status=code)
        return await self._route(request, path)

    async def _route(self, request: web.Request, path: str) -> web.StreamResponse:
        parts = path.strip("/").split("/")
        if parts == ["version"]:
            return web.json_response({"gitVersion": "v1.36.2"})
        if parts[0] == "apis":
            if parts[1] not in self.groups:
                return web.Response(status=404, text="404 page not found\n")
            rest = parts[3:]
        else:
            rest = parts[2:]
        namespace = self.namespace
        if rest and rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
            if namespace != self.namespace:
                text = f'namespaces "{namespace}" not found'
                body = status(404, "NotFound", text, name=namespace, kind="namespaces")
                if request.method == "POST":
                    return web.json_response(body, status=404)
                if len(rest) > 1:
                    text = f'{rest[0]} "{rest[1]}" not found'
                    body = status(404, "NotFound", text, name=rest[1], kind=rest[0])
                    return web.json_response(body, status=404)
        plural, name, sub = (*rest, "", "", "")[:3]
        if plural == "selfsubjectaccessreviews":
            review = await request.json()
            allowed = self.allowed(review["spec"]["resourceAttributes"])
            return web.json_response({**review, "status": {"allowed": allowed}}, status=201)
        if sub == "portforward":
            return await self._forward(request, name)
        if sub == "log":
            return self._log(request, name)
        if request.method == "GET" and not name:
            if request.query.get("watch") == "true":
                return await self._watch(request, plural)
            return web.json_response(self._list(request, plural, namespace))
        if request.method == "POST":
            return self._create(plural, namespace, await request.json())
        found = self.objects.get((plural, namespace, name))
        if found is None:
            body = status(404, "NotFound", f'{plural} "{name}" not found', name=name, kind=plural)
            return web.json_response(body, status=404)
        if request.method == "PATCH":
            merged = _merge(found, await request.json())
            made = self.put(plural, merged)
            if self.on_patch is not None:
                self.on_patch(made)
            return web.json_response(made)
        if request.method == "DELETE":
            wanted = (await request.json()).get("preconditions", {}).get("uid")
            if wanted and wanted != found["metadata"]["uid"]:
                return web.json_response(status(409, "Conflict", "the UID differs"), status=409)
            self.remove(plural, name)
            return web.json_response({"kind": "Status", "status": "Success"})
        return web.json_response(found)

    def _create(self, plural: str, namespace: str, body: Obj) -> web.Response:
        name = body["metadata"]["name"]
        if (plural, namespace, name) in self.objects:
            text = f'{plural} "{name}" already exists'
            answer = status(409, "AlreadyExists", text, name=name, kind=plural)
            return web.json_response(answer, status=409)
        return web.json_response(self.put(plural, body), status=201)

    def _list(self, request: web.Request, plural: str, namespace: str) -> Obj:
        everywhere = "/namespaces/" not in request.path
        with self._lock:
            found = [
                obj
                for (kind, where, _), obj in sorted(self.objects.items())
                if kind == plural
                and (everywhere or where == namespace)
                and _labels_match(obj, request.query.get("labelSelector", ""))
                and _fields_match(obj, request.query.get("fieldSelector", ""))
            ]
            begin, limit = int(request.query.get("continue") or 0), request.query.get("limit")
            end = begin + int(limit) if limit else len(found)
            meta = {"resourceVersion": str(self._version)}
            if end < len(found):
                meta["continue"] = str(end)
            return {"kind": "List", "metadata": meta, "items": found[begin:end]}

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        since = int(request.query.get("resourceVersion") or 0)
        end = self._loop.time() + int(request.query.get("timeoutSeconds", "5"))
        while self._loop.time() < end:
            with self._lock:
                news = [h for h in self._history if h[0] > since and h[1] == plural]
            for version, _, kind, obj in news:
                since = version
                if _fields_match(obj, request.query.get("fieldSelector", "")):
                    await answer.write(json.dumps({"type": kind, "object": obj}).encode() + b"\n")
            await asyncio.sleep(0.02)
        return answer

    def _log(self, request: web.Request, pod: str) -> web.Response:
        previous = request.query.get("previous") == "true"
        key = (pod, request.query.get("container", ""), previous)
        if key not in self.logs:
            text = f'previous terminated container "{key[1]}" in pod "{pod}" not found'
            return web.json_response(status(400, "BadRequest", text), status=400)
        return web.Response(text=self.logs[key])

    async def _forward(self, request: web.Request, pod: str) -> web.StreamResponse:
        """v4.channel.k8s.io: per port a data and an error channel, each opened by its number."""
        port = int(request.query["ports"])
        if (pod, port) not in self.ports:
            return web.json_response(status(404, "NotFound", f'pods "{pod}" not found'), status=404)
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        for channel in (0, 1):
            await socket.send_bytes(bytes([channel]) + port.to_bytes(2, "little"))
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[pod, port])

        async def back() -> None:
            while data := await reader.read(2**16):
                await socket.send_bytes(b"\0" + data)
            await socket.close()

        task = asyncio.ensure_future(back())
        async for message in socket:
            if message.type == WSMsgType.BINARY and message.data[:1] == b"\0":
                writer.write(message.data[1:])
                await writer.drain()
        writer.close()
        task.cancel()
        return socket


def _labels_match(obj: Obj, selector: str) -> bool:
    labels = obj["metadata"].get("labels") or {}
    for term in filter(None, selector.split(",")):
        key, equals, value = term.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def _fields_match(obj: Obj, selector: str) -> bool:
    for term in filter(None, selector.split(",")):
        path, _, value = term.partition("=")
        at: Any = obj
        for part in path.split("."):
            at = at.get(part, "") if isinstance(at, dict) else ""
        if at != value:
            return False
    return True


def _merge(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged
