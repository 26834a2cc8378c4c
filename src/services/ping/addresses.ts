import { endpointOf } from "../notifier/Endpoint.ts"

export type Signal = "start" | "success" | "failure"

/** An address to ping, taken apart. */
export interface Addresses {
  readonly of: Readonly<Record<Signal, string>>
  /** For messages: the path is the secret, so there is none of it. */
  readonly shown: string
  readonly login: { readonly user: string; readonly password: string } | undefined
}

const suffixes: Readonly<Record<Signal, string>> = { start: "/start", success: "", failure: "/fail" }

/** What is called for each signal: the suffix goes after the path, and the query stays at the end. */
export const addressesOf = (address: string): Addresses => {
  const { login, url } = endpointOf(address)
  const of = (signal: Signal): string => {
    const parsed = new URL(url)
    const suffix = suffixes[signal]
    if (suffix !== "") parsed.pathname = `${parsed.pathname.replace(/\/+$/, "")}${suffix}`
    return parsed.href
  }
  return {
    of: { start: of("start"), success: of("success"), failure: of("failure") },
    shown: `${new URL(url).origin}/…`,
    login
  }
}
