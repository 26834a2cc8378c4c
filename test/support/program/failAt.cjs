// Loaded before the program (node --require, which reaches its threads too): its FAIL_AT-th file-system operation below one of the folders
// FAIL_BELOW (with colons between) fails with FAIL_CODE; with FAIL_LASTS=there the same at that
// place ever after, with FAIL_LASTS=everywhere all that come after it. Those that failed are written to FAIL_REPORT, a line each. With FAIL_LIST, a file, the operations are written there, a line each.
const fs = require("node:fs")
const promises = require("node:fs/promises")
const { constants } = require("node:os")
const { getEnvironmentData, isMainThread, setEnvironmentData } = require("node:worker_threads")

const { FAIL_AT, FAIL_BELOW = "/nowhere", FAIL_CODE = "EIO", FAIL_LASTS, FAIL_LIST, FAIL_REPORT } = process.env
const below = FAIL_BELOW.split(":")
const at = Number(FAIL_AT ?? 0)
const { appendFileSync, readlinkSync } = fs

// All threads count together.
const shared = "zipper: operations so far"
if (isMainThread) setEnvironmentData(shared, new Int32Array(new SharedArrayBuffer(4)))
const count = getEnvironmentData(shared)

/** Where a descriptor leads: the name that it was opened by, or has now. */
const pathOf = (fd) => {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return ""
  }
}

/** Of a path, a descriptor or a handle; names that are not UTF-8 only have to be told apart. */
const place = (given) => {
  if (typeof given === "number") return pathOf(given)
  if (typeof given === "object" && !Buffer.isBuffer(given) && typeof given?.fd === "number") return pathOf(given.fd)
  const path = String(given)
  const [through, fd] = /^\/proc\/self\/fd\/(\d+)/.exec(path) ?? []
  return through === undefined ? path : `${pathOf(Number(fd))}${path.slice(through.length)}`
}

let looking = false
let stuck
/** The error that this operation fails with, if it is to fail. */
const refusal = (name, given) => {
  // What writes our lists is itself made of these operations.
  if (looking) return undefined
  const path = place(given)
  if (!below.some((folder) => path === folder || path.startsWith(`${folder}/`))) return undefined
  const number = Atomics.add(count, 0, 1) + 1
  looking = true
  try {
    if (FAIL_LIST !== undefined) appendFileSync(FAIL_LIST, `${name} ${path}\n`)
    const what = `${name} ${path}`
    if (number === at) stuck = what
    const again = at > 0 && number > at && (FAIL_LASTS === "everywhere" || (FAIL_LASTS === "there" && stuck === what))
    if (number !== at && !again) return undefined
    if (FAIL_REPORT !== undefined) appendFileSync(FAIL_REPORT, `${name} ${path}\n`)
  } finally {
    looking = false
  }
  return Object.assign(new Error(`${FAIL_CODE}: injected, ${name} '${path}'`), {
    code: FAIL_CODE,
    errno: -constants.errno[FAIL_CODE],
    syscall: name,
    path
  })
}

const writes = (flags) => (typeof flags === "number" ? (flags & 3) !== 0 : /[wa+]/.test(flags ?? "r"))
const nameOf = (name, given) => (name === "open" && writes(given[1]) ? "create" : name)

// The name that a change is about: what a rename or a link gives.
const operations = {
  ...Object.fromEntries(
    "open read write writev readv fsync fdatasync ftruncate truncate close unlink mkdir rmdir rm readdir opendir stat lstat fstat statfs access chmod fchmod utimes futimes lutimes chown readlink realpath readFile writeFile appendFile mkdtemp"
      .split(" ")
      .map((name) => [name, 0])
  ),
  rename: 1,
  link: 1,
  symlink: 1,
  copyFile: 1
}

/** Takes the place of `real`, with whatever else it carries (promisify looks at that). */
const replace = (owner, key, make) => {
  const real = owner[key]
  if (typeof real !== "function") return
  const mine = make(real)
  Object.defineProperties(mine, Object.getOwnPropertyDescriptors(real))
  owner[key] = mine
}

for (const [name, about] of Object.entries(operations)) {
  const is = (given) => nameOf(name, given)
  const closes = name === "close"
  replace(promises, name, (real) => async (...given) => {
    const error = refusal(is(given), given[about])
    if (error !== undefined) throw error
    return real(...given)
  })
  replace(fs, `${name}Sync`, (real) => (...given) => {
    const error = refusal(is(given), given[about])
    if (error === undefined) return real(...given)
    if (closes) real(...given)
    throw error
  })
  replace(fs, name, (real) => (...given) => {
    const error = refusal(is(given), given[about])
    if (error === undefined) return real(...given)
    const answer = given.at(-1)
    if (closes) real(given[0], () => answer(error))
    else setImmediate(answer, error)
  })
}

const methodNames = "read write readv writev sync datasync stat chmod utimes truncate readFile writeFile appendFile"
const kinds = {
  sync: "fsync",
  datasync: "fdatasync",
  stat: "fstat",
  chmod: "fchmod",
  utimes: "futimes",
  truncate: "ftruncate"
}
let replaced = false

/** The methods of handles: node shows what they belong to only once there is one. */
const replaceMethods = (methods) => {
  if (replaced) return
  replaced = true
  for (const name of methodNames.split(" ")) {
    replace(
      methods,
      name,
      (real) =>
        async function (...given) {
          const error = refusal(kinds[name] ?? name, this)
          if (error !== undefined) throw error
          return real.apply(this, given)
        }
    )
  }
}

replace(promises, "open", (real) => async (...given) => {
  const file = await real(...given)
  replaceMethods(Object.getPrototypeOf(file))
  const { close } = file
  file.close = async () => {
    const error = refusal("close", file)
    // The descriptor is gone, whatever close says.
    await close()
    if (error !== undefined) throw error
  }
  return file
})
