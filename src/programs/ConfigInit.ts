import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { example } from "../domain/ConfigRender.ts"
import { Disk } from "../services/Disk.ts"

/** No example was written; nothing that was there was touched. */
export class ConfigInitError extends Data.TaggedError("ConfigInitError")<{ readonly message: string }> {}

/** Writes the example configuration to `path`, mode 600, unless something is there already. */
export const writeExample = Effect.fn("ConfigInit.writeExample")(function* (path: string) {
  const disk = yield* Disk
  if ((yield* disk.stat(path)) !== undefined) {
    return yield* new ConfigInitError({
      message: `${path} exists already and was left as it is; give another name`
    })
  }
  yield* disk.write(path, example, 0o600)
})
