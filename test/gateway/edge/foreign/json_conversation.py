"""A conversation in JSON over WebSocket, through the `websockets` library: docs/protocol.md and nothing of ours.

usage: json_conversation.py WS_URL BRISK_WS_URL HTTP_URL API_KEY USER TOKEN FRESH EARLY

BRISK_WS_URL is of a node that wants a heartbeat every second. TOKEN never ends, FRESH does in 2100, EARLY is not valid for a day.
"""
import asyncio
import json
import sys
import urllib.request

import websockets

ws_url, brisk_ws_url, http_url, api_key, user, token, fresh, early = sys.argv[1:]
STEP_S = 30


def push(payload):
    body = json.dumps({"to": {"userIds": [user]}, "payload": payload}).encode()
    headers = {"authorization": "Bearer " + api_key, "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(http_url + "/v1/downlinks", body, headers)) as answer:
        assert answer.status == 202, answer.status
        assert json.load(answer)["users"][0]["status"] == "queued"


async def say(ws, op, **fields):
    await ws.send(json.dumps({"op": op, **fields}))


async def hear(ws, op):
    message = await asyncio.wait_for(ws.recv(), STEP_S)
    assert isinstance(message, str), "JSON comes as text"
    frame = json.loads(message)
    assert frame["op"] == op, f"wanted {op}, got {frame}"
    return frame


async def ended(ws, code, close, retry_after_ms=0):
    """The last frame, and the close behind it."""
    error = await hear(ws, "error")
    assert set(error) == {"op", "code", "message", "retryAfterMs"}, error
    assert (error["code"], error["retryAfterMs"]) == (code, retry_after_ms), error
    await closed(ws, close)


async def closed(ws, close):
    try:
        frame = await asyncio.wait_for(ws.recv(), STEP_S)
    except websockets.ConnectionClosed as end:
        assert end.code == close, end.code
    else:
        raise AssertionError(f"wanted the close, got {frame}")


def connect(url=ws_url, **options):
    return websockets.connect(url, subprotocols=["ledgerline.v1.json"], **options)


async def conversation():
    loop = asyncio.get_running_loop()
    hello = {"token": token, "deviceId": "python", "platform": "linux", "sessionId": "py-1"}

    async with connect() as ws:
        assert ws.subprotocol == "ledgerline.v1.json", ws.subprotocol
        await say(ws, "connect", **hello)
        welcome = await hear(ws, "connected")
        assert welcome["userId"] == user and welcome["resumed"] is False, welcome
        assert (welcome["uplinkSeq"], welcome["downlinkSeq"], welcome["missed"]) == (0, 0, 0), welcome

        await say(ws, "uplink", seq=1, service="chat", payload="ahoj, světe")
        assert (await hear(ws, "uplinkAck")) == {"op": "uplinkAck", "seq": 1, "userSeqs": [1]}
        await say(ws, "uplink", seq=2, payload={"base64": "AP8="})
        assert (await hear(ws, "uplinkAck")) == {"op": "uplinkAck", "seq": 2, "userSeqs": [2]}

        await loop.run_in_executor(None, push, "first")
        downlink = await hear(ws, "downlink")
        assert (downlink["seq"], downlink["payload"]) == (1, "first"), downlink
        await say(ws, "ping", downlinkSeq=1)
        assert (await hear(ws, "pong")) == {"op": "pong", "uplinkSeq": 2}

        await say(ws, "token", token=fresh)
        assert (await hear(ws, "tokenAccepted")) == {"op": "tokenAccepted", "expiresAtMs": 4_102_444_800_000}
        await say(ws, "token", token=token)
        assert (await hear(ws, "tokenAccepted")) == {"op": "tokenAccepted", "expiresAtMs": 0}

    await loop.run_in_executor(None, push, {"base64": "AP8="})

    async with connect() as ws:
        await say(ws, "connect", downlinkSeq=1, **hello)
        await say(ws, "uplink", seq=3, payload="pipelined")
        welcome = await hear(ws, "connected")
        assert welcome["resumed"] is True, welcome
        assert (welcome["uplinkSeq"], welcome["downlinkSeq"], welcome["missed"]) == (2, 1, 0), welcome
        frames = [json.loads(await asyncio.wait_for(ws.recv(), STEP_S)) for _ in range(2)]
        ack, downlink = (frames if frames[0]["op"] == "uplinkAck" else frames[::-1])
        assert ack == {"op": "uplinkAck", "seq": 3, "userSeqs": [3]}, ack
        assert (downlink["op"], downlink["seq"], downlink["payload"]) == ("downlink", 2, {"base64": "AP8="}), downlink
        await say(ws, "downlinkSkipped", seq=2, reason="can't read it")
        await say(ws, "downlinkSkipped", seq=2)
        await say(ws, "disconnect")
        await closed(ws, 1000)

    async with connect() as ws:
        await say(ws, "connect", downlinkSeq=2, **hello)
        welcome = await hear(ws, "connected")
        assert (welcome["downlinkSeq"], welcome["missed"]) == (2, 0), "what was skipped is done with"
        await say(ws, "token", token=early)
        await ended(ws, "token-early", 4008, 600_000)

    async with connect() as ws:
        await say(ws, "connect", **{**hello, "token": early})
        await ended(ws, "token-early", 4008, 600_000)

    async with connect() as ws:
        await say(ws, "connect", **hello)
        await hear(ws, "connected")
        await loop.run_in_executor(None, push, "\x01" * 60_000)
        downlink = await hear(ws, "downlink")
        assert downlink["payload"] == "\x01" * 60_000, "larger than frameBytesMax in JSON, not in Avro"
        await say(ws, "downlinkSkipped", seq=4)
        await ended(ws, "protocol", 4502)

    # Of two that are as silent, the one that said so stays. WebSocket's own pings would count as life.
    async with connect(brisk_ws_url, ping_interval=None) as silent, connect(brisk_ws_url, ping_interval=None) as ws:
        await say(silent, "connect", **{**hello, "deviceId": "silent"})
        await say(silent, "ping", silentMs=60_000)
        await hear(silent, "connected")
        await hear(silent, "pong")
        await say(ws, "connect", **{**hello, "deviceId": "forgetful"})
        await hear(ws, "connected")
        await ended(ws, "heartbeat-timeout", 4000)
        await say(silent, "ping")
        await hear(silent, "pong")
        await ended(silent, "heartbeat-timeout", 4000)


asyncio.run(asyncio.wait_for(conversation(), 6 * STEP_S))
print("done")
