import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import { Store } from "../../../src/store/Store.ts"
import * as DiskFaults from "./diskFaults.ts"
import { archive, placeIn, storeOn } from "./storeKit.ts"

/**
 * A process that publishes (or recovers) and is ended by SIGKILL just before its Nth change of the disk.
 * Arguments: folder of target and tmp_dir, N, and what to do: "recover" or the content of the new archive.
 */
const [root = "", ordinal = "", task = ""] = process.argv.slice(2)

let changes = 0
const disk = DiskFaults.layer({
  before: ({ changes: changing }) => {
    if (changing) changes += 1
    if (changing && changes === Number(ordinal)) process.kill(process.pid, "SIGKILL")
    return undefined
  }
})

const work =
  task === "recover" ? Effect.flatMap(Store, (store) => Effect.asVoid(store.recover)) : Effect.asVoid(archive(task))

await Effect.runPromise(
  work.pipe(Effect.provide(storeOn(placeIn(root), disk)), Effect.provide(Logger.remove(Logger.defaultLogger)))
)
