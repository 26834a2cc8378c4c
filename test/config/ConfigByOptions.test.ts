import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { configFrom } from "../../src/config/ConfigExample.ts"
import { ConfigFile } from "../../src/config/ConfigFile.ts"
import { answersFrom, type InitFlags } from "../../src/config/ConfigInit.ts"
import { Disk } from "../../src/system/Disk.ts"
import { ZfsError } from "../../src/zfs/ZfsCommand.ts"
import { memoryDatasets } from "../doubles/Datasets.ts"
import { directoryStat } from "../support/folders.ts"
import { capturedLog } from "../support/program/log.ts"

const failed = (reason: ZfsError["reason"], message: string) => new ZfsError({ reason, message, transient: false })

// /plain is there and not on ZFS; below /mnt each folder is a dataset.
const world = Layer.mergeAll(
  memoryDatasets(
    [],
    (path) =>
      path.startsWith("/none")
        ? Effect.fail(
            failed("NotFound", `cannot use the source folder ${path}: no such file or directory; check source_path`)
          )
        : Effect.succeed(path),
    (path) =>
      path.startsWith("/mnt/") ? Effect.succeed(path.slice("/mnt/".length)) : Effect.fail(failed("NotZfs", "no"))
  ),
  Layer.mock(Disk, {
    writable: () => Effect.void,
    list: () => Effect.succeed(["ABCD"]),
    stat: () => Effect.succeed(directoryStat)
  }),
  Layer.mock(ConfigFile, {
    tokenMistake: (path) =>
      Effect.succeed(path.startsWith("/none") ? "cannot be read: no such file or directory (ENOENT)" : undefined)
  })
)

const nothing: InitFlags = {
  source: undefined,
  target: undefined,
  folders: undefined,
  tmpDir: undefined,
  live: false,
  gotifyUrl: undefined,
  gotifyTokenFile: undefined,
  notifySuccess: false
}
const good = { source: "/mnt/a/data", target: "/mnt/b/archives" }
const url = "https://gotify.example.com/message"

const from = (given: Partial<InitFlags>, tokenGiven = false) =>
  answersFrom({ ...nothing, ...given }, tokenGiven).pipe(Effect.map(configFrom), Effect.provide(world))
const mistakes = (given: Partial<InitFlags>, tokenGiven?: boolean) => Effect.flip(from(given, tokenGiven))

describe("the options of config init", () => {
  it.effect("say which folders of the source are archived, and what takes those that are there", () => {
    const log = capturedLog()
    return Effect.gen(function* () {
      assert.deepStrictEqual(yield* from({ ...good, folders: "[A-Z]+" }), {
        source_path: good.source,
        target_path: good.target,
        folders: "[A-Z]+"
      })
      assert.include(log.lines.join("\n"), "Info: folders to archive: ABCD")
      yield* from({ ...good, folders: "[a-z]+" })
      assert.include(log.lines.join("\n"), `has a name that matches "folders" ([a-z]+)`)
      assert.include(log.lines.join("\n"), `Warning: set "folders" in the configuration: "[^.].*" takes every folder`)
      const [mistake = ""] = yield* mistakes({ ...good, folders: "(" })
      assert.match(mistake, /^--folders: "\(" is no regular expression/)
    }).pipe(Effect.provide(log.layer))
  })

  it.effect("come to the answers of somebody who was asked", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* from(good), { source_path: good.source, target_path: good.target })
      assert.deepStrictEqual(yield* from({ ...good, source: "/plain", live: true, tmpDir: "/mnt/b/tmp" }), {
        source_path: "/plain",
        target_path: good.target,
        tmp_dir: "/mnt/b/tmp",
        snapshots: "live"
      })
      const gotify = { gotifyUrl: url, gotifyTokenFile: "/root/token" }
      assert.deepStrictEqual(yield* from({ ...good, ...gotify, notifySuccess: true }), {
        source_path: good.source,
        target_path: good.target,
        gotify: { url, token_file: "/root/token" },
        notify_on: ["failure", "success", "recovery"]
      })
      assert.deepInclude(yield* from({ ...good, gotifyUrl: url }, true), { gotify: { url } })
    })
  )

  it.effect("are wrong all at once: what is no value, what is not there, and what is missing beside it", () =>
    Effect.gen(function* () {
      const all = yield* mistakes({
        source: "/none/1",
        target: "/none/2",
        tmpDir: "/none/3",
        gotifyUrl: "ftp://x",
        gotifyTokenFile: "/none/token"
      })
      const expected = [
        /^--gotify-url: /,
        /^--source: cannot use \/none\/1: no such file or directory$/,
        /^--target: cannot use \/none\/2: no such file or directory$/,
        /^--tmp-dir: cannot use \/none\/3: no such file or directory$/,
        /^--gotify-token-file: \/none\/token: cannot be read: no such file/
      ]
      assert.lengthOf(all, expected.length, all.join("\n"))
      for (const pattern of expected)
        assert.isTrue(
          all.some((line) => pattern.test(line)),
          `${pattern}: ${all}`
        )
    })
  )

  it.effect("are named as they are typed", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [Partial<InitFlags>, ReadonlyArray<RegExp>]> = [
        [{ source: "x", target: "y" }, [/^--source: "x" is not/, /^--target: "y" is not/]],
        [{ ...good, source: "/plain" }, [/^--source: \/plain is not on ZFS: .* --live /]],
        [{ source: "/mnt/a", target: "/mnt/a" }, [/^--target: is the same folder as --source$/]],
        [{ source: "/mnt/a", target: "/mnt/a/b" }, [/^--target: "\/mnt\/a\/b" lies inside --source: /]],
        [{ ...good, gotifyUrl: url }, [/^--gotify-token-file: is missing; .*ZIPPER_GOTIFY_TOKEN/]],
        [{ ...good, gotifyTokenFile: "/none/token" }, [/^--gotify-url: is missing/, /^--gotify-token-file: /]],
        [{ notifySuccess: true }, [/^--source: is missing/, /^--target: is missing/, /^--gotify-url: is missing/]]
      ]
      for (const [given, patterns] of cases) {
        const lines = yield* mistakes(given)
        assert.isAtMost(lines.length, patterns.length + 1, lines.join("\n"))
        for (const pattern of patterns) {
          assert.isTrue(
            lines.some((line) => pattern.test(line)),
            `${pattern}: ${lines.join("\n")}`
          )
        }
      }
    })
  )
})
