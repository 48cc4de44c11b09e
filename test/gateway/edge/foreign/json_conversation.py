"""A conversation in JSON over WebSocket, through the `websockets` library: docs/protocol.md and nothing of ours.

usage: json_conversation.py WS_URL HTTP_URL API_KEY TOKEN USER
"""
import asyncio
import json
import sys
import urllib.request

import websockets

ws_url, http_url, api_key, token, user = sys.argv[1:]
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


def connect():
    return websockets.connect(ws_url, subprotocols=["ledgerline.v1.json"])


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
        await say(ws, "downlinkAck", seq=2)
        await say(ws, "disconnect")
        try:
            await asyncio.wait_for(ws.recv(), STEP_S)
            raise AssertionError("wanted the close")
        except websockets.ConnectionClosed as closed:
            assert closed.code == 1000, closed.code

asyncio.run(asyncio.wait_for(conversation(), 4 * STEP_S))
print("done")
