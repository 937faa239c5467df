import type { Environment, SocketLike } from "./connection";

/** The browser's own socket, clock and chance. */
export const browserEnvironment: Environment = {
  openSocket(url: string, protocols: string[] = []): SocketLike {
    const socket = new WebSocket(url, protocols);
    const face: SocketLike = {
      onopen: null,
      onmessage: null,
      onclose: null,
      send: (text) => {
        if (socket.readyState === WebSocket.OPEN) socket.send(text);
      },
      close: () => socket.close(),
    };
    socket.onopen = () => face.onopen?.();
    socket.onmessage = (event: MessageEvent<unknown>) => face.onmessage?.({ data: event.data });
    socket.onclose = () => face.onclose?.();
    return face;
  },
  now: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

/** The live channel's address on the server the page came from. */
export function liveUrl(location: Location, path: string): string {
  return `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}${path}`;
}
