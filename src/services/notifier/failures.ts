import type * as HttpClientError from "@effect/platform/HttpClientError"
import { codeOf } from "../../domain/Errno.ts"
import { quoted } from "../../domain/Text.ts"
import type { Answer } from "./answers.ts"
import { NotifyError } from "./NotifyError.ts"

/**
 * Failures of the HTTP client in words. The client's errors carry the request with its token, so none of them
 * is kept as a cause: what they say is taken over, the objects are not.
 */
export const connectionFailure = (shown: string, error: HttpClientError.HttpClientError): NotifyError => {
  const { permanent, why } = troubleOf(error)
  return new NotifyError({
    reason: "Unreachable",
    message: `Gotify at ${shown} cannot be reached: ${why}`,
    transient: !permanent
  })
}

/** Why there was no answer, in words, and whether another attempt can only end the same way. */
export const troubleOf = (
  error: HttpClientError.HttpClientError
): { readonly why: string; readonly permanent: boolean } => {
  const found = rootOf(error.cause)
  const code = codeOf(found)
  const badPort = found instanceof Error && found.message === "bad port"
  const why = badPort
    ? "that port belongs to another protocol, and is never asked over http"
    : (meanings[code ?? ""] ?? (code === undefined ? "the connection broke" : "the connection failed"))
  return {
    why: `${why}${code === undefined ? "" : ` (${code})`}`,
    permanent:
      badPort ||
      (code !== undefined && /CERT|TLS|SSL|INVALID/.test(code)) ||
      // Of an answer only the reading can fail, which may pass.
      (error._tag === "RequestError" && error.reason !== "Transport")
  }
}

/** No answer in time. */
export const timeoutFailure = (shown: string, seconds: number): NotifyError =>
  new NotifyError({
    reason: "Timeout",
    message: `Gotify at ${shown} did not answer within ${seconds} s`,
    transient: true
  })

/** An answer that is no success. `location` is where a redirect points. */
export const statusFailure = (shown: string, status: number, location: string | undefined): NotifyError =>
  new NotifyError({
    reason: "Rejected",
    message: `Gotify at ${shown} answered HTTP ${status}: ${advice(status, location)}`,
    transient: status === 429 || status === 408 || status >= 500
  })

/** A success that is not one of Gotify: a login page, another server. `secrets` are taken out of what is quoted. */
export const foreignAnswer = (
  shown: string,
  { body, contentType, status }: Answer,
  secrets: ReadonlyArray<string>
): NotifyError => {
  const hidden = secrets
    .filter((secret) => secret !== "")
    .reduce((text, secret) => text.replaceAll(secret, "***"), body)
  const words = hidden.replace(/\s+/g, " ").trim().slice(0, firstWords)
  const type =
    contentType === undefined ? "without a content type" : `of type ${quoted(contentType.slice(0, 80))}`
  const what = words === "" ? "nothing" : quoted(words)
  return new NotifyError({
    reason: "NotGotify",
    message: `${shown} answered HTTP ${status}, and this is not Gotify's answer: ${what} (${type}); is gotify.url right, and no login page before it?`,
    transient: false
  })
}

/** So many characters of an answer tell what it is. */
const firstWords = 60

const advice = (status: number, location: string | undefined): string => {
  if (status >= 300 && status < 400) {
    return `it redirects${location === undefined ? "" : ` to ${location}`}, and a token is not sent after a redirect; set gotify.url to the final address`
  }
  switch (status) {
    case 400:
      return "it does not understand the message; check that gotify.url is the address of a Gotify server"
    case 401:
    case 403:
      return "the token is wrong; use the token of a Gotify application (not of a client)"
    case 404:
    case 405:
      return "nothing takes messages there; gotify.url should end in /message"
    case 413:
      return "the message is too large for it"
    case 429:
      return "too many requests; it wants us to wait"
    default:
      return status >= 500 ? "the server, or the proxy before it, has a problem" : "the message was refused"
  }
}

const meanings: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "it broke the connection",
  EPIPE: "it broke the connection",
  UND_ERR_SOCKET: "it broke the connection",
  ENOTFOUND: "there is no such host",
  EAI_AGAIN: "the name cannot be looked up now",
  EHOSTUNREACH: "there is no route to the host",
  ENETUNREACH: "the network is unreachable",
  ETIMEDOUT: "the connection timed out",
  UND_ERR_CONNECT_TIMEOUT: "the connection timed out",
  CERT_HAS_EXPIRED: "its certificate has expired",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is self-signed; set NODE_EXTRA_CA_CERTS to trust it",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate is self-signed; set NODE_EXTRA_CA_CERTS to trust it",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate cannot be verified",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another name",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak https on that port"
}

/** The innermost failure: fetch wraps what happened, and wraps attempts on several addresses once more. */
const rootOf = (cause: unknown, depth = 0): unknown => {
  if (depth > 5 || typeof cause !== "object" || cause === null) return cause
  if (cause instanceof AggregateError && cause.errors.length > 0) return rootOf(cause.errors[0], depth + 1)
  return "cause" in cause && cause.cause !== undefined ? rootOf(cause.cause, depth + 1) : cause
}
