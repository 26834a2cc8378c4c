import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { type Answers, configFrom } from "../../src/config/ConfigExample.ts"
import { mistakesIn } from "../../src/config/ConfigInit.ts"
import { interview } from "../../src/config/ConfigInterview.ts"
import { Disk } from "../../src/system/Disk.ts"
import type { MountedDataset } from "../../src/zfs/Datasets.ts"
import { ZfsError } from "../../src/zfs/ZfsCommand.ts"
import { memoryDatasets } from "../doubles/Datasets.ts"
import { memoryQuestions } from "../doubles/Questions.ts"
import { directoryStat } from "../support/folders.ts"

const datasets: ReadonlyArray<MountedDataset> = [
  { name: "tank/archive", mountpoint: "/mnt/archive", used: 5_000 },
  { name: "tank/data", mountpoint: "/mnt/data", used: 3_000_000 },
  { name: "tank/data/inner", mountpoint: "/mnt/data/inner", used: 10 },
  { name: "other/safe", mountpoint: "/mnt/safe", used: 0 }
]
const folders = ["/mnt/data", "/mnt/data/inner", "/mnt/archive", "/mnt/safe", "/plain"]

const failed = (reason: ZfsError["reason"], message: string) => new ZfsError({ reason, message, transient: false })

const world = (listed: ReadonlyArray<MountedDataset> | ZfsError) =>
  memoryDatasets(
    listed,
    // A symlink into the source.
    (path) =>
      path === "/link"
        ? Effect.succeed("/mnt/data/inner")
        : folders.includes(path)
          ? Effect.succeed(path)
          : Effect.fail(failed("NotFound", `cannot use the source folder ${path}: no such file or directory`)),
    (path) => {
      const home = datasets.find(({ mountpoint }) => mountpoint === (path === "/link" ? "/mnt/data/inner" : path))
      return home === undefined ? Effect.fail(failed("NotZfs", "no")) : Effect.succeed(home.name)
    }
  )

const disk = Layer.mock(Disk, {
  writable: () => Effect.void,
  list: (path) => Effect.succeed(path === "/plain" ? ["Documents", "photos 2024", ".cache"] : ["ABCD"]),
  stat: () => Effect.succeed(directoryStat)
})

const asked = (
  answers: ReadonlyArray<string>,
  options: { readonly tokenGiven?: boolean; readonly listed?: ReadonlyArray<MountedDataset> | ZfsError } = {}
) => {
  const shown: Array<string> = []
  return interview({ tokenGiven: options.tokenGiven ?? false, own: {} }).pipe(
    Effect.provide(Layer.mergeAll(memoryQuestions(answers, shown), world(options.listed ?? datasets), disk)),
    Effect.map((given): { given: Answers; shown: string } => ({ given, shown: shown.join("\n") }))
  )
}

describe("the questions of config init", () => {
  it.effect("are answered by the numbers of what was found", () =>
    Effect.gen(function* () {
      const { given, shown } = yield* asked(["2", "2", ""])
      assert.deepStrictEqual(configFrom(given), { source_path: "/mnt/data", target_path: "/mnt/safe" })
      assert.match(shown, /^ +2 {2}tank\/data +2\.9 MiB {2}\/mnt\/data$/m)
      // What lies inside the source is no target.
      const targets = shown.slice(shown.indexOf("Target:"))
      assert.notInclude(targets, "/mnt/data/inner")
      assert.deepStrictEqual(mistakesIn(given, false), [])
    })
  )

  it.effect("are asked again until the answer is one that the configuration takes", () =>
    Effect.gen(function* () {
      const answers = [
        "mnt/data",
        "/nowhere",
        "/mnt/../x",
        "/mnt/data",
        "/mnt/data/inner",
        "/link",
        "7",
        "/mnt/archive",
        ""
      ]
      const { given, shown } = yield* asked(answers)
      assert.deepStrictEqual(configFrom(given), { source_path: "/mnt/data", target_path: "/mnt/archive" })
      assert.include(shown, 'source_path: "mnt/data" is not an absolute path')
      assert.include(shown, "cannot use /nowhere: no such file")
      assert.include(shown, "/mnt/data/inner lies inside the source /mnt/data")
      assert.include(shown, "one pool, tank")
    })
  )

  it.effect("offer to read live what is not on ZFS, and work where there is none", () =>
    Effect.gen(function* () {
      const listed = failed("NotInstalled", "zfs is not installed")
      const { given } = yield* asked(["/plain", "n", "/plain", "y", "", "/mnt/safe", ""], { listed })
      assert.deepStrictEqual(configFrom(given), {
        source_path: "/plain",
        target_path: "/mnt/safe",
        folders: "[^.].*",
        snapshots: "live"
      })
    })
  )

  it.effect("ask for the names of the folders only where the usual rule takes none of those that are there", () =>
    Effect.gen(function* () {
      const listed = failed("NotInstalled", "zfs is not installed")
      const answers = ["/plain", "y", "(", "..", "nothing", "photos [0-9]+", "/mnt/safe", ""]
      const { given, shown } = yield* asked(answers, { listed })
      assert.strictEqual(given.folders, "photos [0-9]+")
      for (const line of [
        "Note: no folder in /plain has a name that is four upper-case letters or digits.",
        'Note: not to archive, by "folders": Documents, photos 2024, .cache.',
        'folders: "(" is no regular expression',
        'folders: ".." matches "..", which is no name of a folder',
        'Note: no folder in /plain has a name that matches "folders" (nothing).',
        "Note: folders to archive: photos 2024.",
        'Note: not to archive, by "folders": Documents, .cache.'
      ]) {
        assert.include(shown, line)
      }
      const usual = yield* asked(["2", "2", ""])
      assert.include(usual.shown, "Note: folders to archive: ABCD.")
      assert.notInclude(usual.shown, "Which of them")
    })
  )

  it.effect("ask for Gotify by its rules, and show no token", () =>
    Effect.gen(function* () {
      const answers = [
        "2",
        "1",
        "gotify",
        "https://g.example.com/message",
        "",
        "a b",
        "REPLACE_WITH_TOKEN",
        "AbC",
        "x",
        "y"
      ]
      const { given, shown } = yield* asked(answers)
      assert.strictEqual(given.gotify?.token === undefined ? "" : Redacted.value(given.gotify.token), "AbC")
      assert.include([...(given.notify_on ?? [])], "success")
      assert.include(shown, "gotify.url: ")
      assert.include(shown, "gotify.token: is still REPLACE_WITH_TOKEN")
      assert.notInclude(shown, "AbC")
      assert.deepStrictEqual(mistakesIn(given, false), [])
    })
  )

  it.effect("do not ask for a token that the environment has", () =>
    Effect.gen(function* () {
      const { given } = yield* asked(["2", "1", "https://g.example.com/message", "n"], { tokenGiven: true })
      assert.deepStrictEqual(configFrom(given)["gotify"], { url: "https://g.example.com/message" })
      assert.deepStrictEqual(mistakesIn(given, true), [])
    })
  )

  it.effect("fail when nobody answers any more", () =>
    Effect.gen(function* () {
      assert.match((yield* Effect.flip(asked(["2"]))).message, /not answered to their end/)
    })
  )
})
