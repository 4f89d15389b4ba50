"""uWebSockets: the path of a client is its topic. It is subscribed to it, and what it sends is published there."""

from socketify import App, CompressOptions, OpCode


def upgrade(response, request, context):
    response.upgrade(
        request.get_header("sec-websocket-key"),
        request.get_header("sec-websocket-protocol"),
        request.get_header("sec-websocket-extensions"),
        context,
        request.get_url(),
    )


def enter(client):
    client.subscribe(client.get_user_data())
    client.send("joined", OpCode.TEXT)


def say(client, body, opcode):
    app.publish(client.get_user_data(), body, opcode)


app = App()
app.ws(
    "/*",
    {
        "compression": CompressOptions.DISABLED,
        # the default drops what a client is more than 64 KiB behind
        "max_backpressure": 16 * 1024 * 1024,
        "idle_timeout": 120,
        "send_pings_automatically": True,
        "upgrade": upgrade,
        "open": enter,
        "message": say,
    },
)
app.listen({"host": "127.0.0.1", "port": 0}, lambda at: print(f"ws://127.0.0.1:{at.port}", flush=True))
# The loop that uWebSockets runs on. `app.run()` would drive it from asyncio, which polls without a pause.
app.loop.uv_loop.run()
