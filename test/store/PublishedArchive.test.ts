import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import { namesOf, PublishedArchives, type Which } from "../../src/store/PublishedArchive.ts"
import * as Disk from "../../src/system/Disk.ts"
import { capturedLog } from "../support/program/log.ts"
import { published } from "../support/program/verify.ts"
import * as diskFaults from "../support/store/diskFaults.ts"
import { abcd } from "../support/zip/archive.ts"

const open = (target: string, which: Which, refused: string, code = "EIO") =>
  Effect.flatMap(PublishedArchives, (archives) => Effect.either(archives.open(abcd, which))).pipe(
    Effect.provide(
      PublishedArchives.layer(target).pipe(
        Layer.provide(
          diskFaults
            .layer({
              before: ({ name, path }) => (name === "stat" && path.endsWith(`/${refused}`) ? code : undefined)
            })
            .pipe(Layer.provide(Disk.Disk.layer))
        )
      )
    )
  )

describe("PublishedArchives.open", () => {
  it.scoped(
    "an error that hides whether a publication was interrupted is not taken for none, but for who may not see it",
    () =>
      Effect.gen(function* () {
        const { targetPath } = yield* published
        const failed = yield* open(targetPath, "current", "commit")
        assert.match(failed._tag === "Left" ? failed.left.message : "", /^cannot look at the archives of ABCD: .*EIO/)
        const log = capturedLog()
        const denied = yield* open(targetPath, "current", "commit", "EACCES").pipe(Effect.provide(log.layer))
        assert.isFalse(Either.getOrUndefined(denied)?.interrupted)
        assert.match(
          log.lines.join(),
          /^Warning: .*EACCES.*: what only the user of the runs may see is taken for not there$/
        )
      })
  )

  for (const which of ["current", "previous"] as const) {
    it.scoped(
      `a look at a file of the ${which} archive that fails is not taken for an archive that lost its files`,
      () =>
        Effect.gen(function* () {
          const place = yield* published
          const { md5, metadata, sha256, zip } = namesOf(abcd, which)
          for (const refused of [md5, sha256, metadata]) {
            const whole = yield* open(place.targetPath, which, refused)
            assert.strictEqual(whole._tag, "Right")
            assert.match(JSON.stringify(whole), new RegExp(`"file":"${refused}","problem":"cannot be read: [^"]*EIO`))
          }
          for (const name of [zip, md5, sha256, metadata, ".state.json"]) fs.rmSync(place.file(name))
          for (const refused of [md5, sha256, metadata]) {
            const none = yield* open(place.targetPath, which, refused)
            assert.match(none._tag === "Left" ? none.left.message : "", /^cannot look at the archives of ABCD: .*EIO/)
          }
          const none = yield* open(place.targetPath, which, "no such file")
          if (which === "previous") assert.deepStrictEqual(none, Either.right(undefined))
        })
    )
  }
})
