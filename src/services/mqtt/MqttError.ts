import * as Data from "effect/Data"
import { codeOf, explain } from "../../domain/Errno.ts"

/** A message did not reach the broker. Its text never holds the password. */
export class MqttError extends Data.TaggedError("MqttError")<{
  readonly reason: "Unreachable" | "Refused" | "Timeout"
  readonly message: string
}> {}

/** No end within the time that was given. */
export const timedOut = (broker: string, seconds: number): MqttError =>
  new MqttError({
    reason: "Timeout",
    message: `the MQTT broker at ${broker} did not confirm the message within ${seconds} s; is it a broker, without TLS, that listens there?`
  })

/** MQTT 3.1.1 takes a password only together with a user name. */
export const needsUserName = (broker: string): MqttError =>
  new MqttError({
    reason: "Refused",
    message: `the MQTT broker at ${broker} speaks MQTT 3.1.1 only, where a password needs a user name: set MQTT_USERNAME, or username in the mqtt section`
  })

/**
 * Whether the broker refuses to speak MQTT 5: it says so, with the code of version 5 or of 3.1.1, or closes the
 * connection instead of an answer.
 */
export const refusesVersion = (error: unknown): boolean => {
  const code = returnCode(error)
  return code === 1 || code === 0x84 || code === "ECONNRESET" || code === "EPIPE"
}

/** The broker has the message and does not take it; undefined when it does not say so. */
export const denial = (broker: string, topic: string, error: unknown): MqttError | undefined => {
  const code = returnCode(error)
  if (typeof code !== "number") return undefined
  const why = denials.get(code) ?? "it gives a reason that zipper does not know"
  return new MqttError({
    reason: "Refused",
    message: `the MQTT broker at ${broker} denied the message for ${topic}: ${why} (reason code 0x${code.toString(16).padStart(2, "0")})`
  })
}

/** What mqtt.js says. Its errors are not kept as a cause: they may carry the packet with the password. */
export const failure = (broker: string, error: unknown): MqttError => {
  const refusal = refusals.get(returnCode(error))
  if (refusal !== undefined) {
    return new MqttError({
      reason: "Refused",
      message: `the MQTT broker at ${broker} refused the login: ${refusal}`
    })
  }
  const found = rootOf(error)
  const code = codeOf(found)
  const why =
    meanings[code ?? ""] ??
    (found instanceof Error && found.message !== "" ? explain(found) : "the connection failed")
  return new MqttError({
    reason: "Unreachable",
    message: `the MQTT broker at ${broker} cannot be reached: ${why}${code === undefined ? "" : ` (${code})`}`
  })
}

const returnCode = (error: unknown): unknown =>
  typeof error === "object" && error !== null && "code" in error ? error.code : undefined

/** Return codes of CONNACK in MQTT 3.1.1, and its reason codes in MQTT 5. */
const refusals: ReadonlyMap<unknown, string> = new Map([
  [1, "it speaks neither MQTT 5 nor MQTT 3.1.1"],
  [2, "it does not take our client identifier"],
  [3, "it is not available now"],
  [4, "the user name or the password is wrong"],
  [5, "the user name or the password is missing or wrong, or that user may not connect"],
  [0x80, "it does not say why"],
  [0x81, "it does not understand the request"],
  [0x82, "it sees an error in the protocol"],
  [0x83, "it does not allow it"],
  [0x84, "it speaks neither MQTT 5 nor MQTT 3.1.1"],
  [0x85, "it does not take our client identifier"],
  [0x86, "the user name or the password is wrong"],
  [0x87, "the user name or the password is missing or wrong, or that user may not connect"],
  [0x88, "it is not available now"],
  [0x89, "it is busy"],
  [0x8a, "this client is banned"],
  [0x8c, "it wants another way to log in"],
  [0x95, "the request is too large"],
  [0x97, "a quota is used up"],
  [0x9c, "another server is to be used for now"],
  [0x9d, "it has moved to another server"],
  [0x9f, "there are too many connections at once"]
])

/** Reason codes of PUBACK, and of the DISCONNECT that may come in its place, in MQTT 5. */
const denials: ReadonlyMap<number, string> = new Map([
  [0x80, "it does not say why"],
  [0x83, "it does not allow it"],
  [0x87, "this user may not publish there"],
  [0x89, "it is busy"],
  [0x8b, "it is shutting down"],
  [0x90, "it does not take that topic"],
  [0x95, "the message is too large"],
  [0x96, "there are too many messages at once"],
  [0x97, "a quota is used up"],
  [0x98, "its administrator ended the connection"],
  [0x99, "it does not take what the message holds"],
  [0x9b, "it takes no messages that are to be confirmed (QoS 1)"]
])

const meanings: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "it closed the connection; is it an MQTT broker, without TLS, and may this user publish there?",
  EPIPE: "it closed the connection",
  ENOTFOUND: "there is no such host",
  EAI_AGAIN: "the name cannot be looked up now",
  EHOSTUNREACH: "there is no route to the host",
  ENETUNREACH: "the network is unreachable",
  ETIMEDOUT: "the connection timed out"
}

/** Attempts on several addresses of one name fail together. */
const rootOf = (error: unknown): unknown =>
  error instanceof AggregateError && error.errors.length > 0 ? error.errors[0] : error
