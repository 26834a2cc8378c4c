import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { codeOf, valueOr } from "../system/Errno.ts"

/**
 * Requests to a server that the configuration names. The address, the headers and the body may hold secrets, and the client's
 * errors carry the request with all of them: what such an error says is taken over, the object is not.
 */

/** An address without its user name and password, which fetch refuses, and these two apart. */
export interface Address {
  readonly url: URL
  readonly login: { readonly user: string; readonly password: string } | undefined
}

/** Takes an http or https address apart. */
export const addressOf = (address: string): Address => {
  const url = new URL(address)
  const { password, username } = url
  url.username = ""
  url.password = ""
  url.hash = ""
  const login =
    username === "" && password === "" ? undefined : { user: unescaped(username), password: unescaped(password) }
  return { url, login }
}

// URL leaves a stray % as it is, and escapes that are no UTF-8: decodeURIComponent throws at both.
const unescaped = (part: string): string =>
  valueOr(() => decodeURIComponent(part.replace(/%(?![0-9a-fA-F]{2})/g, "%25")), part)

export const withLogin = (request: HttpClientRequest.HttpClientRequest, { login }: Address) =>
  login === undefined ? request : HttpClientRequest.basicAuth(request, login.user, login.password)

/** One attempt failed. `transient`: another one may succeed. */
export interface HttpFailure {
  readonly reason: "Unreachable" | "Timeout" | "Rejected"
  readonly message: string
  readonly transient: boolean
}

/** Gives the function that sends one request to `server` (its name in failures) and reads the answer, in at most `seconds`. */
export const makeExchange = (server: string, seconds: number) =>
  Effect.map(HttpClient.HttpClient, (client) => {
    const quiet = client.pipe(
      // Spans would carry the headers and the whole address.
      HttpClient.withTracerDisabledWhen(() => true),
      HttpClient.withScope
    )
    return <A>(
      request: HttpClientRequest.HttpClientRequest,
      read: (response: HttpClientResponse.HttpClientResponse) => Effect.Effect<A, HttpClientError.HttpClientError>
    ): Effect.Effect<A, HttpFailure> =>
      quiet.execute(request).pipe(
        Effect.flatMap(read),
        // Closing the scope drops what is left of a long answer.
        Effect.scoped,
        // A redirect would take the secrets elsewhere, and make a POST a GET.
        Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" }),
        Effect.mapError((error) => unreachable(server, error)),
        Effect.timeoutFail({
          duration: Duration.seconds(seconds),
          onTimeout: (): HttpFailure => {
            const message = `${server} did not answer within ${seconds} s`
            return { reason: "Timeout", message, transient: true }
          }
        })
      )
  })

/** Tries again after a transient failure, at most `retries` times. The first pause is `pause`, each later one twice as long. */
export const retried =
  (retries: number, pause: Duration.DurationInput = "1 second") =>
  <A, E extends { readonly transient: boolean }, R>(attempt: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.retry(attempt, {
      // Capped, since twenty retries that double would last for days.
      schedule: Schedule.exponential(pause).pipe(
        Schedule.union(Schedule.spaced("30 seconds")),
        Schedule.jittered,
        Schedule.intersect(Schedule.recurs(retries))
      ),
      while: ({ transient }) => transient
    })

export const isSuccess = ({ status }: { readonly status: number }): boolean => status >= 200 && status < 300

/** An answer that is no success; `advice` says what to do about it. */
export const rejected = (server: string, status: number, advice: string): HttpFailure => ({
  reason: "Rejected",
  message: `${server} answered HTTP ${status}: ${advice}`,
  transient: status === 429 || status === 408 || status >= 500
})

const unreachable = (server: string, error: HttpClientError.HttpClientError): HttpFailure => {
  const found = rootOf(error.cause)
  const code = codeOf(found)
  const isBadPort = found instanceof Error && found.message === "bad port"
  const why = isBadPort
    ? "that port belongs to another protocol, and is never asked over http"
    : (meanings[code ?? ""] ?? (code === undefined ? "the connection broke" : "the connection failed"))
  const isPermanent =
    isBadPort ||
    (code !== undefined && /CERT|TLS|SSL|INVALID/.test(code)) ||
    // Of an answer only the reading can fail, which may pass.
    (error._tag === "RequestError" && error.reason !== "Transport")
  return {
    reason: "Unreachable",
    message: `${server} cannot be reached: ${why}${code === undefined ? "" : ` (${code})`}`,
    transient: !isPermanent
  }
}

/** The innermost failure: fetch wraps what happened, and attempts on several addresses of one name fail together. */
export const rootOf = (cause: unknown, depth = 0): unknown => {
  if (depth > 5 || typeof cause !== "object" || cause === null) return cause
  if (cause instanceof AggregateError && cause.errors.length > 0) return rootOf(cause.errors[0], depth + 1)
  return "cause" in cause && cause.cause !== undefined ? rootOf(cause.cause, depth + 1) : cause
}

/** Why there is no connection, by the code of the error. */
export const networkErrors: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ENOTFOUND: "there is no such host",
  EAI_AGAIN: "the name cannot be looked up now",
  EHOSTUNREACH: "there is no route to the host",
  ENETUNREACH: "the network is unreachable",
  ETIMEDOUT: "the connection timed out"
}

const meanings: Readonly<Record<string, string>> = {
  ...networkErrors,
  ECONNRESET: "it broke the connection",
  EPIPE: "it broke the connection",
  UND_ERR_SOCKET: "it broke the connection",
  UND_ERR_CONNECT_TIMEOUT: "the connection timed out",
  CERT_HAS_EXPIRED: "its certificate has expired",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is self-signed; set NODE_EXTRA_CA_CERTS to trust it",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate is self-signed; set NODE_EXTRA_CA_CERTS to trust it",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate cannot be verified",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another name",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak https on that port"
}
