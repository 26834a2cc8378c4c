import * as http from "node:http"
import * as Effect from "effect/Effect"

/** One request as the server saw it. */
export interface SeenRequest {
  readonly method: string
  readonly path: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

/** What the server does with request number `n` (from 0). */
export type Answer = (response: http.ServerResponse, n: number) => void

export const status = (code: number, headers: http.OutgoingHttpHeaders = {}): Answer =>
  says(code, '{"error":"as asked"}', headers)

/** Answers so, in JSON unless the headers say otherwise. */
export const says =
  (code: number, body: string, headers: http.OutgoingHttpHeaders = {}): Answer =>
  (response) => {
    response.writeHead(code, { "content-type": "application/json", ...headers })
    response.end(body)
  }

/** What Gotify answers a message that it took. */
export const taken: Answer = says(200, '{"id":25,"appid":5,"message":"m","title":"t","priority":5}')

/** Never answers. */
export const hangs: Answer = () => {}

/** Ends the connection before there is an answer. */
export const breaks: Answer = (response) => {
  response.socket?.destroy()
}

/** Answers the requests with one after the other; the last one stands for all that follow. */
export const inTurn =
  (...answers: ReadonlyArray<Answer>): Answer =>
  (response, n) =>
    (answers[n] ?? answers.at(-1))?.(response, n)

/** A server on 127.0.0.1 for the length of the scope. */
export const httpServer = (answer: Answer) =>
  Effect.acquireRelease(
    Effect.async<{
      readonly origin: string
      readonly seen: Array<SeenRequest>
      readonly server: http.Server
    }>((resume) => {
      const seen: Array<SeenRequest> = []
      const server = http.createServer((request, response) => {
        const chunks: Array<Buffer> = []
        request.on("data", (chunk: Buffer) => chunks.push(chunk))
        request.on("end", () => {
          seen.push({
            method: request.method ?? "",
            path: request.url ?? "",
            headers: request.headers,
            body: Buffer.concat(chunks).toString()
          })
          answer(response, seen.length - 1)
        })
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed({ origin: `http://127.0.0.1:${port}`, seen, server }))
      })
    }),
    ({ server }) =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )

/** An address on 127.0.0.1 where nothing listens. */
export const closedPort = Effect.scoped(Effect.map(httpServer(status(200)), ({ origin }) => origin))
