import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { makeReceiver } from "../../../src/replication/Receiver.ts"
import { type Invocation, Process } from "../../../src/system/Process.ts"
import type { Snapshot } from "../../../src/zfs/Dataset.ts"
import { local, type Remote } from "../../../src/zfs/Endpoint.ts"
import { type Answer, processFake } from "../program/processFake.ts"

/** Another machine. */
export const nas: Remote = { _tag: "Remote", host: "nas", user: "backup", options: [] }

/** The first line of a command on another machine. */
export const begin = "zipper: connected\n"

/** What an answer is when it comes through ssh: the command has begun, unless it says otherwise. */
const remote = (given: Answer): Answer =>
  "_tag" in given || given.began === false || given.stderr?.includes(begin)
    ? given
    : { ...given, stderr: `${begin}${given.stderr ?? ""}` }

/**
 * A scripted Process. `calls` are command lines; of one that goes through ssh, what the other end's shell gets, without what runs
 * each command there.
 */
export const scripted = (answer: (commandLine: string) => Answer) => {
  const calls: Array<string> = []
  const fake = processFake((line: string, { args, program }: Invocation) => {
    if (program !== "ssh") {
      calls.push(line)
      return answer(line)
    }
    const call = `ssh: ${args
      .at(-1)
      ?.replace(/^env LC_ALL=C "PATH=[^ ]* /, "")
      .replace(`sh -c 'echo zipper: connected >&2; exec "$@"' sh `, "")}`
    calls.push(call)
    return remote(answer(call))
  })
  const process = Effect.runSync(Effect.scoped(Effect.map(Layer.build(fake.layer), Context.get(Process))))
  return { calls, process }
}

/** A snapshot that nobody holds. */
export const snapshot = (name: string, createtxg = 1n, more: Partial<Snapshot> = {}): Snapshot => ({
  name,
  guid: `100${name}`,
  createtxg,
  creation: 1795236482,
  holds: 0,
  clones: [],
  ...more
})

/** A line of `zfs list -Hp` about it. */
export const row = (dataset: string, { clones, createtxg, creation, guid, holds, name, written }: Snapshot): string =>
  `${dataset}@${name}\t${guid}\t${createtxg}\t${creation}\t${holds}\t${clones.join(",") || "-"}${written === undefined ? "" : `\t${written}`}\n`

/** The receiver on zfs that answers so, and the commands that it ran. */
export const receiver = (
  answer: (commandLine: string) => Answer,
  endpoint: Parameters<typeof makeReceiver>[1] = local
) => {
  const { calls, process } = scripted(answer)
  return { calls, receiver: makeReceiver(process, endpoint) }
}
