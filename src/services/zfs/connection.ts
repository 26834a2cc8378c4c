import { label, type Remote } from "../../domain/replication/Endpoint.ts"
import * as Ssh from "../../domain/replication/Ssh.ts"
import type { Completed } from "../Process.ts"
import { ZfsError } from "./contract.ts"

/**
 * What ssh itself has to say about a command on another machine that ended with 255; undefined when it is the command
 * that failed: zfs ends so too.
 */
export const connectionFailure = (
  purpose: string,
  remote: Remote,
  { exitCode, stderr }: Pick<Completed, "exitCode" | "stderr">
): ZfsError | undefined => {
  if (exitCode !== 255) return undefined
  const lines = spoken(stderr)
  const fail = (said: string, { advice, transient }: Verdict) =>
    new ZfsError({
      reason: "Unreachable",
      message: `cannot ${purpose}: cannot reach ${label(remote)}: ${said}${advice}`,
      transient
    })
  for (const { pattern, verdict } of complaints) {
    const said = lines.find((line) => pattern.test(line))
    if (said !== undefined) return fail(said, verdict(remote, stderr))
  }
  return lines.length === 0 ? fail("the connection was lost", { advice: "", transient: true }) : undefined
}

/** Whether ssh says it, and of a connection that failed. */
export const isConnectionComplaint = (line: string): boolean =>
  complaints.some(({ pattern }) => pattern.test(line))

interface Verdict {
  readonly advice: string
  readonly transient: boolean
}

/** Where ssh says more than one thing, the first of these is the one that counts. */
const complaints: ReadonlyArray<{
  readonly pattern: RegExp
  readonly verdict: (remote: Remote, stderr: string) => Verdict
}> = [
  {
    pattern: /Permission denied \(|Too many authentication failures|No more authentication methods/,
    verdict: (remote) => ({
      advice: `; the login needs a key without a passphrase, or an agent: try ${Ssh.trial(remote, true)} as the user that runs this; ssh-copy-id puts a key there`,
      transient: false
    })
  },
  {
    pattern: /Host key verification failed|host key is known for/,
    verdict: (remote, stderr) => ({
      advice: /IDENTIFICATION HAS CHANGED/.test(stderr)
        ? "; its host key is another one than before: find out why, then take the old one out of known_hosts (ssh-keygen -R)"
        : `; its host key is not known yet: compare and accept it once by hand: ${Ssh.trial(remote, false)}`,
      transient: false
    })
  },
  {
    pattern: /Could not resolve hostname/,
    verdict: (_, stderr) =>
      /Temporary failure|try again/i.test(stderr)
        ? { advice: "", transient: true }
        : { advice: "; is the name of the host right?", transient: false }
  },
  {
    pattern:
      /Bad configuration option|command-line: line |keyword .* extra arguments|Bad owner or permissions|invalid characters|Bad port/,
    verdict: () => ({ advice: "; check the host and the options for ssh", transient: false })
  },
  {
    pattern:
      /^ssh: |^client_loop|^mux_client_|^Shared connection to |^(kex_exchange|ssh_exchange)_identification|^ssh_dispatch_run_fatal|^packet_write|Connection (closed|reset|timed out|refused)|Connection to .* (closed|timed out)|^Timeout, server|^Received disconnect|^Disconnected from|banner exchange|Broken pipe|^Killed by signal/,
    verdict: () => ({ advice: "", transient: true })
  }
]

/** What was said, without what ssh tells on every connection. */
export const spoken = (stderr: string): ReadonlyArray<string> =>
  stderr.split("\n").flatMap((line) => {
    const text = line.trim()
    return text === "" || /^(Warning: Permanently added|\*\* |Control socket connect\()/.test(text)
      ? []
      : [text]
  })
