// A reverse proxy that has moss below a path.

import { once } from "node:events";
import { createServer, request } from "node:http";

/** Forwards everything below each of `paths` to moss, without the path. Everything else is 404. */
export async function startProxy(moss, ...paths) {
  const pathOf = (url) => paths.find((path) => url.startsWith(path));
  const passOn = ({ method, url, headers }) => request({ port: moss.port, path: url.slice(pathOf(url).length - 1), method, headers });
  const server = createServer((asked, answer) => {
    if (!pathOf(asked.url)) return answer.writeHead(404).end();
    passOn(asked)
      .on("response", (response) => response.pipe(answer.writeHead(response.statusCode, response.headers)))
      .on("error", () => answer.writeHead(502).end())
      .end();
  });
  server.on("upgrade", (asked, socket) => {
    if (!pathOf(asked.url)) return socket.destroy();
    passOn(asked)
      .on("upgrade", ({ headers }, behind, first) => {
        const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
        socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join("")}\r\n`);
        socket.write(first);
        socket.pipe(behind).pipe(socket);
        for (const [end, other] of [[socket, behind], [behind, socket]]) end.on("error", () => {}).on("close", () => other.destroy());
      })
      .on("response", () => socket.destroy())
      .on("error", () => socket.destroy())
      .end();
  });
  const sockets = new Set(); // The server does not close upgraded ones.
  server.on("connection", (socket) => sockets.add(socket.on("close", () => sockets.delete(socket))));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    page: (name, path = paths[0]) => `http://127.0.0.1:${server.address().port}${path}${name}`,
    stop: () => new Promise((resolve) => (server.close(resolve), sockets.forEach((socket) => socket.destroy()))),
  };
}
