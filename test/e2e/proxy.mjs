// proxy.mjs - a TCP proxy on loopback, inside the test, that can be slow, narrow, deaf, half open or cut.
//
// Each connection is two pipes, `up` to the server and `down` to the client. Bytes keep their order. What a pipe holds back
// it holds in memory, and stops reading when that is much, so that a slow proxy pushes back as a slow network does.
import net from 'node:net';

const HELD_MAX = 256 * 1024;

class Pipe {
  constructor(proxy, way, from, to) {
    Object.assign(this, { proxy, way, from, to, queue: [], held: 0, freeAt: 0, timer: null });
    from.on('data', (bytes) => {
      if (proxy.mute[way]) { this.hasHole = true; return; } // swallowed: this connection can never be whole again
      this.queue.push({ bytes, due: performance.now() + proxy.delayMs });
      this.held += bytes.length;
      if (this.held > HELD_MAX) from.pause();
      this.move();
    });
  }
  // Sends what is due. A stalled pipe sends nothing until `move` is called again.
  move() {
    clearTimeout(this.timer);
    while (this.queue.length > 0 && !this.proxy.stalled[this.way]) {
      const now = performance.now();
      const at = Math.max(this.queue[0].due, this.freeAt);
      if (at > now) {
        this.timer = setTimeout(() => this.move(), at - now);
        return;
      }
      const { bytes } = this.queue.shift();
      this.held -= bytes.length;
      if (this.proxy.bytesPerMs > 0) this.freeAt = now + bytes.length / this.proxy.bytesPerMs;
      this.to.write(bytes);
      if (this.held <= HELD_MAX) this.from.resume();
    }
    if (this.queue.length === 0 && this.isEnded) this.to.destroy();
  }
  // The sender has closed: the receiver learns it behind what is held back.
  end() {
    this.isEnded = true;
    this.move();
  }
}

export class Proxy {
  // `port` is where it leads; it may listen later, or be gone for a while.
  constructor(port) {
    this.target = port;
    this.connections = new Set();
    this.heal();
  }
  async start() {
    this.server = net.createServer((client) => this.accept(client));
    await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    this.port = this.server.address().port;
    return this;
  }
  accept(client) {
    const server = net.connect(this.target, '127.0.0.1');
    client.setNoDelay(true);
    server.setNoDelay(true);
    const connection = { client, server, up: new Pipe(this, 'up', client, server), down: new Pipe(this, 'down', server, client) };
    this.connections.add(connection);
    for (const [socket, pipe] of [[client, connection.up], [server, connection.down]]) {
      socket.on('error', () => {});
      socket.on('close', () => {
        if (this.mute[pipe.way]) pipe.hasHole = true; // the other side is left half open
        else pipe.end();
        if (client.destroyed && server.destroyed) this.connections.delete(connection);
      });
    }
  }
  // --- what can be wrong ---
  slow(delayMs, bytesPerMs = 0) { Object.assign(this, { delayMs, bytesPerMs }); }
  // Holds back what goes this way; nothing is lost.
  stall(way) { this.stalled[way] = true; }
  // Swallows what goes this way, the end of the connection too: 'up', 'down' or 'both'.
  swallow(way) { for (const w of way === 'both' ? ['up', 'down'] : [way]) this.mute[w] = true; }
  // Breaks every connection, with a reset.
  cut() {
    for (const { client, server } of this.connections) {
      for (const socket of [client, server]) socket.connecting ? socket.destroy() : socket.resetAndDestroy();
    }
  }
  // Everything is right again. Connections that lost something are broken.
  heal() {
    this.slow(0);
    this.stalled = { up: false, down: false };
    this.mute = { up: false, down: false };
    for (const { client, server, up, down } of this.connections) {
      if (up.hasHole || down.hasHole) { client.destroy(); server.destroy(); }
      up.move();
      down.move();
    }
  }
  close() {
    this.cut();
    this.server.close();
  }
}
