import { constants } from "node:fs"
import { type FileHandle, open } from "node:fs/promises"
import * as ConfigVariable from "effect/Config"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { codeOf, explain } from "../system/Errno.ts"
import { tokenVariable } from "../system/Process.ts"
import { asToken, type Config, type ConfigDocument, decode, isPlaceholder, withToken } from "./Config.ts"
import { placeholderIssue } from "./Contradictions.ts"
import * as JsonText from "./JsonText.ts"

/** A configuration that cannot be used: everything that is wrong with it, at once. No secret is part of it. */
export class ConfigError extends Data.TaggedError("ConfigError")<{
  readonly path: string
  /** A line each. */
  readonly issues: ReadonlyArray<string>
}> {
  override get message(): string {
    return this.issues.length === 1
      ? `${this.path}: ${this.issues[0]}`
      : [`${this.path}: ${this.issues.length} mistakes`, ...this.issues].join("\n- ")
  }
}

/** Whether the path is of a file that a process has open, as a shell's `<(…)`: such a pipe gets no other writer. */
export const isInherited = (path: string): boolean => /^\/(?:dev\/(?:fd|std)|proc\/)/.test(path)

/** Reads configuration files. */
export class ConfigFile extends Context.Tag("zipper/ConfigFile")<
  ConfigFile,
  {
    /**
     * Reads, decodes and checks the file, and fetches the Gotify token: from ZIPPER_GOTIFY_TOKEN, else from
     * `gotify.token_file`, else from `gotify.token`. Changes nothing.
     */
    readonly load: (
      path: string
    ) => Effect.Effect<{ readonly config: Config; readonly warnings: ReadonlyArray<string> }, ConfigError>
    /** What keeps a file from being a `gotify.token_file`, to go after its name; undefined when nothing does. */
    readonly tokenMistake: (path: string) => Effect.Effect<string | undefined>
  }
>() {
  static readonly layer: Layer.Layer<ConfigFile> = Layer.sync(ConfigFile, () => ({
    tokenMistake: Effect.fn("ConfigFile.tokenMistake")((path: string) =>
      Effect.match(readText(path), {
        onFailure: (why) => why,
        onSuccess: ({ text }) => Option.getOrUndefined(Either.getLeft(tokenIn(text)))
      })
    ),
    load: Effect.fn("ConfigFile.load")(function* (path: string) {
      const fail = (...issues: ReadonlyArray<string>) => new ConfigError({ path, issues })
      const file = yield* readText(path).pipe(Effect.mapError(fail))
      if (file.text.trim() === "") return yield* fail("is empty; zipper config init writes a configuration")
      const { mistakes, value } = yield* Either.mapLeft(JsonText.parse(file.text), (mistake) =>
        fail(`not valid JSON, ${mistakeLine(file.text, mistake)}`)
      )
      const fromVariable = yield* tokenFromEnvironment
      const decoded = decode(value, { tokenGiven: isGiven(fromVariable) })
      const inText = mistakes.map((mistake) => mistakeLine(file.text, mistake))
      if (Either.isLeft(decoded)) return yield* fail(...inText, ...decoded.left, ...fromVariable.issues)
      if (inText.length > 0) return yield* fail(...inText, ...fromVariable.issues)
      const document = decoded.right
      const found = yield* findToken(document, fromVariable)
      if (found.issues.length > 0) return yield* fail(...found.issues)
      return {
        config: withToken(document, found.token),
        warnings: [
          ...(holdsSecret(document) ? openWarning(path, file.mode) : []),
          ...(found.file === undefined ? [] : openWarning(found.file.path, found.file.mode))
        ]
      }
    })
  }))
}

interface FoundToken {
  readonly token?: Redacted.Redacted
  /** The file it came from, if it was not the configuration itself. */
  readonly file?: TextFile
  readonly issues: ReadonlyArray<string>
}

/** An empty variable counts as not set: that is how a crontab takes it back. */
const tokenFromEnvironment: Effect.Effect<FoundToken> = ConfigVariable.redacted(tokenVariable).pipe(
  ConfigVariable.option,
  Effect.orElseSucceed(Option.none<Redacted.Redacted>),
  Effect.map((value): FoundToken => {
    if (Option.isNone(value) || Redacted.value(value.value) === "") return { issues: [] }
    return checkedToken(tokenVariable, Redacted.value(value.value))
  })
)

const checkedToken = (origin: string, text: string): FoundToken =>
  Either.match(tokenIn(text), {
    onLeft: (issue) => ({ issues: [`${origin}: ${issue}`] }),
    onRight: (token) => ({ token, issues: [] })
  })

/** Left: why the text is no token. */
const tokenIn = (text: string): Either.Either<Redacted.Redacted, string> => {
  const token = asToken(text)
  if (token === undefined) return Either.left("holds no token: expected one word of visible ASCII characters")
  return isPlaceholder(token) ? Either.left(placeholderIssue) : Either.right(token)
}

const findToken = Effect.fnUntraced(
  function* (document: ConfigDocument, fromVariable: FoundToken) {
    const { gotify } = document
    if (gotify === undefined) return { issues: [] }
    if (isGiven(fromVariable)) return fromVariable
    if (gotify.token_file !== undefined) {
      const file = yield* Effect.either(readText(gotify.token_file))
      if (Either.isLeft(file)) return { issues: [`gotify.token_file: ${gotify.token_file}: ${file.left}`] }
      return { ...checkedToken(`gotify.token_file: ${gotify.token_file}`, file.right.text), file: file.right }
    }
    // decode fails without one.
    return { ...(gotify.token === undefined ? {} : { token: gotify.token }), issues: [] }
  },
  Effect.map((found): FoundToken => found)
)

const isGiven = (found: FoundToken): boolean => found.token !== undefined || found.issues.length > 0

const holdsSecret = (document: ConfigDocument): boolean =>
  document.mqtt?.password !== undefined ||
  document.ping_url !== undefined ||
  document.replication.some((job) => job.ping_url !== undefined) ||
  (document.gotify?.token !== undefined && !isPlaceholder(document.gotify.token))

const openWarning = (path: string, mode: number | undefined): ReadonlyArray<string> =>
  mode === undefined || (mode & 0o044) === 0
    ? []
    : [`${path} can be read by others (mode ${mode.toString(8).padStart(4, "0")}) and holds a secret: chmod 600`]

// A line with a secret on it, or right before it, is not shown: cron mails and logs what we print.
const secretive = /token|passw|secret|ping|\/\/[^\s"]*@/i

const mistakeLine = (text: string, mistake: JsonText.JsonMistake): string => {
  const lines = text.split("\n")
  const line = (lines[mistake.line - 1] ?? "").replace(/\r$/, "")
  const place = `line ${mistake.line}, column ${mistake.column}: ${mistake.message}`
  const near = `${lines[mistake.line - 2] ?? ""}\n${line}`
  if (line.trim() === "" || line.length > 160 || secretive.test(near)) return place
  return `${place}: ${line.trim()}`
}

interface TextFile {
  readonly path: string
  readonly text: string
  /** Permission bits; undefined for a pipe or a device, where they say nothing. */
  readonly mode: number | undefined
}

const maxBytes = 1024 * 1024

/** Does not wait for a fifo's writer: no signal would stop a thread that waits there. */
const flags = constants.O_RDONLY | constants.O_NONBLOCK

/** The writer of a named pipe that was started together with this process may open it a little later. */
const writerTimeoutMillis = 2_000
const pauseMillis = 50

/** Reads UTF-8 text, with or without a byte order mark, from a file or a pipe (a shell's `<(…)`). Fails with what is wrong, in words. */
const readText = (path: string): Effect.Effect<TextFile, string> =>
  Effect.acquireUseRelease(
    attempt(() => open(path, flags)),
    (file) =>
      Effect.gen(function* () {
        const stat = yield* attempt(() => file.stat())
        if (stat.isDirectory()) return yield* Effect.fail("is a folder; expected a file")
        const content = Buffer.alloc(maxBytes + 1)
        let length = 0
        let waited = 0
        for (;;) {
          const bytesRead = yield* attempt(() => readSome(file, content, length))
          if (bytesRead === undefined) {
            yield* Effect.sleep(pauseMillis)
            continue
          }
          if (bytesRead === 0) {
            if (length > 0 || !stat.isFIFO() || isInherited(path)) break
            if (waited >= writerTimeoutMillis) return yield* Effect.fail("is a fifo that no process writes to")
            yield* Effect.sleep(pauseMillis)
            waited += pauseMillis
            continue
          }
          length += bytesRead
          if (length > maxBytes) return yield* Effect.fail("is larger than 1 MiB; expected a small text file")
        }
        const bytes = content.subarray(0, length)
        const other = otherEncoding(bytes)
        if (other !== undefined) return yield* Effect.fail(`is written in ${other}; save it as UTF-8`)
        const text = yield* Effect.try({
          try: () => new TextDecoder("utf-8", { fatal: true }).decode(bytes),
          catch: () => "is not UTF-8 text"
        })
        return { path, text, mode: stat.isFile() ? stat.mode & 0o7777 : undefined }
      }),
    (file) => Effect.ignore(Effect.tryPromise(() => file.close()))
  )

const attempt = <A>(call: () => Promise<A>) =>
  Effect.tryPromise({
    try: call,
    catch: (cause) => (codeOf(cause) === "ENOENT" ? "does not exist" : `cannot be read: ${explain(cause)}`)
  })

/** UTF-16 or UTF-32, by its byte order mark, or by the zeros beside the first character, which is ASCII in what is read here. */
const otherEncoding = (bytes: Uint8Array): string | undefined => {
  const [first, second, third, fourth] = bytes
  if (first === undefined || second === undefined) return undefined
  if ((first === 0xff && second === 0xfe) || (first !== 0 && second === 0)) {
    return third === 0 && fourth === 0 ? "UTF-32" : "UTF-16"
  }
  if (first === 0xfe && second === 0xff) return "UTF-16"
  if (first === 0) return second === 0 ? "UTF-32" : "UTF-16"
  return undefined
}

/** How many bytes were read; undefined when the writer has written none yet. */
const readSome = async (file: FileHandle, content: Buffer, length: number): Promise<number | undefined> => {
  try {
    return (await file.read(content, length, content.length - length, null)).bytesRead
  } catch (cause) {
    if (codeOf(cause) === "EAGAIN") return
    throw cause
  }
}
