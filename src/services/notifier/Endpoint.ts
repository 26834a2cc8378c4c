/** A Gotify address taken apart, so that what is secret in it stays out of messages. */
export interface Endpoint {
  /** Where messages are posted; no user name or password in it (fetch refuses those). */
  readonly url: string
  /** Where the server tells how it is, without a message being sent. */
  readonly health: { readonly method: "GET" | "HEAD"; readonly url: string }
  /** For messages: without user name, password and query. */
  readonly shown: string
  /** User name and password of the address, for a proxy in front of the server. */
  readonly login: { readonly user: string; readonly password: string } | undefined
}

/** Takes an http or https address apart. */
export const endpointOf = (address: string): Endpoint => {
  const url = new URL(address)
  const login =
    url.username === "" && url.password === ""
      ? undefined
      : { user: unescaped(url.username), password: unescaped(url.password) }
  url.username = ""
  url.password = ""
  url.hash = ""
  const shown = `${url.origin}${url.pathname}`
  return {
    url: url.href,
    health: shown.endsWith("/message")
      ? { method: "GET", url: `${shown.slice(0, -"message".length)}health` }
      : { method: "HEAD", url: `${url.origin}/` },
    shown,
    login
  }
}

// URL leaves a stray % as it is, and escapes that are no UTF-8: decodeURIComponent throws at both.
const unescaped = (part: string): string => {
  try {
    return decodeURIComponent(part.replace(/%(?![0-9a-fA-F]{2})/g, "%25"))
  } catch {
    return part
  }
}
