export {
  type AttachFrom,
  type Endpoint,
  type EndpointStatus,
  type Exit,
  type HeaderList,
  type HttpTarget,
  type ListenAddress,
  type ProcessDescription,
  type SignalName,
  signalNames,
  TunnelError,
} from "@trunkline/protocol"
export { Agent, type AgentOptions, type SpawnProcessOptions } from "./agent.ts"
export { type ConnectOptions, connect, Gateway } from "./connect.ts"
export type { Dial, DialTarget, EarlyDial, Socket, SocketEvents } from "./dial.ts"
export { type EndpointDetail, type EndpointFilter, type EndpointPage, Endpoints } from "./endpoints.ts"
export { type Command, describeExit, type ExecOptions, type ExecResult, type SpawnOptions } from "./exec.ts"
export type { FetchOptions } from "./fetch.ts"
export type { HttpAnswer, HttpRequest } from "./http.ts"
export type { HttpAccess } from "./http-access.ts"
export type { Input } from "./input.ts"
export type { LinkState, LinkStateListener } from "./link-state.ts"
export type { IncomingConnection, Listener } from "./listen.ts"
export { Process } from "./process.ts"
export type { OutputEvent, ProcessExit, TerminalSize } from "./process-output.ts"
export { type AttachOptions, type ListOptions, Processes } from "./processes.ts"
export { type PtyConnectOptions, type PtyOptions, Terminal } from "./pty.ts"
export type { SocketOptions, SocketTarget } from "./tcp.ts"
export type { TunnelSocket } from "./tunnel-socket.ts"
export type { TunnelWebSocket, WebSocketRequest } from "./web-socket.ts"
export type { WebSocketClose } from "./web-socket-end.ts"
