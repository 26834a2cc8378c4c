import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { example } from "../domain/ConfigRender.ts"
import { Disk } from "../services/Disk.ts"

/** No example was written; nothing that was there was touched. */
class ConfigInitError extends Data.TaggedError("ConfigInitError")<{ readonly message: string }> {}

/** Writes the example configuration to `path`, mode 600, unless something is there already. */
export const writeExample = Effect.fn("ConfigInit.writeExample")(function* (path: string) {
  const disk = yield* Disk
  if ((yield* disk.stat(path)) !== undefined) {
    return yield* new ConfigInitError({
      message: `${path} exists already and was left as it is; give another name`
    })
  }
  const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) || "/" : "."
  if ((yield* disk.stat(folder)) === undefined) {
    return yield* new ConfigInitError({ message: `the folder ${folder} does not exist: create it first` })
  }
  yield* disk.write(path, example, 0o600)
})
