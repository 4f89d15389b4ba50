// Socket.IO with its Redis adapter. A client names its room when it connects, and receives `joined`. `publish` sends a
// message to all clients in a room.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

// without the limit of 5 s for a command, above which a busy process would fail
const publisher = createClient({ url: process.env.REDIS_URL, commandOptions: { timeout: undefined } });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer();
const io = new Server(http, {
  adapter: createAdapter(publisher, subscriber),
  perMessageDeflate: false,
  transports: ["websocket"],
});

// frees the memory of the first request, as the chapter on memory recommends
io.engine.on("connection", (connection) => {
  connection.request = null;
});

io.on("connection", async (socket) => {
  socket.on("publish", (room, body) => {
    io.to(room).emit("message", body);
  });
  await socket.join(socket.handshake.auth.room);
  socket.emit("joined");
});

http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  console.log(`ws://127.0.0.1:${http.address().port}`);
});
