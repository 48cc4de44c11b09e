"""Rooms in JSON over WebSocket, through the `websockets` library: docs/protocol.md and nothing of ours.

usage: rooms_conversation.py WS_URL USER TOKEN

TOKEN allows to read and post in chat:7, to read news, and nothing else. Post 1 of chat:7 is there before.
"""
import asyncio
import json
import sys

import websockets

ws_url, user, token = sys.argv[1:]
STEP_S = 60
seq = 0


async def say(ws, op, **fields):
    await ws.send(json.dumps({"op": op, **fields}))


async def hear(ws, op):
    """The next frame of this kind: acks and posts come in no order of each other."""
    while True:
        frame = json.loads(await asyncio.wait_for(ws.recv(), STEP_S))
        if frame["op"] == op:
            return frame
        assert frame["op"] == "uplinkAck", f"wanted {op}, got {frame}"


async def post(ws, room_id, payload):
    global seq
    seq += 1
    await say(ws, "uplink", seq=seq, service="chat", payload=payload, roomId=room_id)


def connect():
    return websockets.connect(ws_url, subprotocols=["ledgerline.v1.json"])


async def conversation():
    hello = {"token": token, "deviceId": "python", "sessionId": "py-1"}
    async with connect() as ws:
        await say(ws, "connect", **hello)
        await say(ws, "join", roomId="chat:7", roomSeq=0)
        await hear(ws, "connected")
        assert await hear(ws, "joined") == {"op": "joined", "roomId": "chat:7", "roomSeq": 0, "missed": 0}
        first = await hear(ws, "post")
        assert (first["roomSeq"], first["from"], first["payload"]) == (1, "ann", "hello"), first
        assert set(first) == {
            "op", "roomId", "roomSeq", "messageId", "from", "service", "payload", "postedAtMs"}, first

        await post(ws, "chat:7", "ahoj")
        second = await hear(ws, "post")
        assert (second["roomSeq"], second["from"], second["service"], second["payload"]) == (2, user, "chat", "ahoj")
        assert second["messageId"] == user + "/1", second

        await say(ws, "join", roomId="elsewhere")
        left = await hear(ws, "left")
        assert (left["roomId"], left["code"]) == ("elsewhere", "forbidden"), left
        await say(ws, "join", roomId="news")
        assert (await hear(ws, "joined"))["roomSeq"] == 0
        await post(ws, "news", "not mine to say")
        refused = await hear(ws, "uplinkRefused")
        assert (refused["code"], refused["expectedSeq"]) == ("forbidden", 2), refused

        await say(ws, "leave", roomId="chat:7")
        assert (await hear(ws, "left"))["code"] == "left"
        await say(ws, "leave", roomId="chat:7")
        assert (await hear(ws, "left"))["code"] == "not-found"

    async with connect() as ws:
        await say(ws, "connect", **hello)
        await hear(ws, "connected")
        await say(ws, "join", roomId="chat:7", roomSeq=1)
        assert (await hear(ws, "joined"))["roomSeq"] == 1
        assert (await hear(ws, "post"))["payload"] == "ahoj", "what came since its place"
        await say(ws, "join", roomId="chat:7", roomSeq=99)
        assert (await hear(ws, "joined"))["roomSeq"] == 2, "the room has no more"


asyncio.run(asyncio.wait_for(conversation(), 6 * STEP_S))
print("done")
