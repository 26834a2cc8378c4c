import { assert, describe, it } from "@effect/vitest"
import type { ReplicationJobState } from "../../src/runs/JobState.ts"
import { render } from "../../src/runs/Metrics.ts"

interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** The text format as `promtool check metrics` reads it: throws at what that refuses. */
const parse = (text: string): ReadonlyArray<Sample> => {
  const samples: Array<Sample> = []
  const finished = new Set<string>()
  let family: { readonly name: string; typed: boolean } | undefined
  if (text !== "" && !text.endsWith("\n")) throw new Error("no newline at the end")
  for (const line of text.split("\n").slice(0, -1)) {
    const help = /^# HELP ([a-zA-Z_:][\w:]*) (.+)$/.exec(line)
    const type = /^# TYPE ([a-zA-Z_:][\w:]*) gauge$/.exec(line)
    if (help?.[1] !== undefined) {
      if (finished.has(help[1])) throw new Error(`${help[1]} comes twice`)
      finished.add(help[1])
      family = { name: help[1], typed: false }
    } else if (type?.[1] !== undefined) {
      if (family?.name !== type[1] || family.typed) throw new Error(`out of place: ${line}`)
      family.typed = true
    } else {
      const match = /^([a-zA-Z_:][\w:]*)\{(.*)\} (-?[0-9.e+-]+)$/.exec(line)
      if (match === null || match[1] !== family?.name || family?.typed !== true) throw new Error(`no sample: ${line}`)
      const labels: Record<string, string> = {}
      let rest = match[2] ?? ""
      while (rest !== "") {
        const pair = /^([a-zA-Z_]\w*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)/.exec(rest)
        if (pair?.[1] === undefined || pair[2] === undefined) throw new Error(`no label: ${rest}`)
        labels[pair[1]] = pair[2].replace(/\\(.)/g, (_, char: string) => (char === "n" ? "\n" : char))
        rest = rest.slice(pair[0].length)
      }
      const value = Number(match[3])
      if (Number.isNaN(value)) throw new Error(`no number: ${line}`)
      samples.push({ name: match[1] ?? "", labels, value })
    }
  }
  const keys = samples.map(({ labels, name }) => `${name} ${JSON.stringify(labels)}`)
  if (new Set(keys).size < keys.length) throw new Error("a series comes twice")
  return samples
}

const state = (job: string, dataset: string): ReplicationJobState => ({
  version: 1,
  kind: "replication",
  job,
  direction: "pull",
  host: "nas",
  last_success_utc: "1970-01-01T00:01:00Z",
  last_run: {
    run: "a",
    started_at_utc: "1970-01-01T00:02:00Z",
    seconds: 1.5,
    outcome: "failed",
    bytes: 7,
    failures: 1
  },
  datasets: [
    {
      dataset,
      result: "refused",
      last_success_utc: "1970-01-01T00:01:00Z",
      last_attempt_utc: "1970-01-01T00:02:00Z",
      bytes: 5
    },
    { dataset: `${dataset}/new`, result: "failed", last_attempt_utc: "no time at all" }
  ]
})

describe("Metrics", () => {
  it("says what is known, and nothing where nothing is", () => {
    const samples = parse(render([state("nas", "tank")]))
    const valueOf = (name: string, labels: Readonly<Record<string, string>>) =>
      samples.find((each) => each.name === `zipper_${name}` && JSON.stringify(each.labels) === JSON.stringify(labels))
        ?.value
    const tank = { job: "nas", dataset: "tank" }
    assert.strictEqual(valueOf("last_success_timestamp_seconds", tank), 60)
    assert.strictEqual(valueOf("last_attempt_timestamp_seconds", tank), 120)
    assert.strictEqual(valueOf("last_attempt_failed", tank), 1)
    assert.strictEqual(valueOf("last_bytes", tank), 5)
    assert.isUndefined(valueOf("last_success_timestamp_seconds", { job: "nas", dataset: "tank/new" }))
    assert.isUndefined(valueOf("last_attempt_timestamp_seconds", { job: "nas", dataset: "tank/new" }))
    assert.strictEqual(valueOf("last_run_timestamp_seconds", { job: "nas" }), 120)
    assert.strictEqual(valueOf("last_run_success_timestamp_seconds", { job: "nas" }), 60)
    assert.strictEqual(valueOf("last_run_duration_seconds", { job: "nas" }), 1.5)
    assert.strictEqual(valueOf("last_run_failures", { job: "nas" }), 1)
    assert.strictEqual(valueOf("last_run_outcome", { job: "nas", outcome: "failed" }), 1)
    assert.strictEqual(valueOf("last_run_outcome", { job: "nas", outcome: "ok" }), 0)
  })

  it("keeps to the format whatever a name holds, and no two series are the same", () => {
    const odd = 'a "b"\\c\nd{}=,'
    const archive = {
      version: 1,
      kind: "archive",
      last_run: state("x", "x").last_run,
      folders: []
    } as const
    const samples = parse(render([archive, state("archive", "t"), state("x", odd)]))
    assert.include(
      samples.map(({ labels }) => labels["dataset"]),
      odd
    )
    assert.strictEqual(render([]), "")
  })
})
