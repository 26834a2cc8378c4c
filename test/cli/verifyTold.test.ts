import { once } from "node:events"
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { makePlace, type Place, run } from "../support/program/built.ts"

const clock = fileURLToPath(new URL("../support/program/clock.mjs", import.meta.url))

let place: Place
let down = false
const told: Array<string> = []
const server = createServer((request, response) => {
  const chunks: Array<Buffer> = []
  request.on("data", (chunk: Buffer) => chunks.push(chunk))
  request.on("end", () => {
    const sent = Buffer.concat(chunks).toString()
    if (!down) told.push(`${request.url} ${request.url === "/message" ? JSON.parse(sent).title : sent}`)
    response.end(down ? "<html>log in</html>" : '{"id":1}')
  })
})

beforeEach(async () => {
  down = false
  told.length = 0
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  const origin = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`
  place = makePlace()
  place.configure({
    gotify: { url: `${origin}/message`, token: "t0ken" },
    notify_on: ["failure", "recovery"],
    ping_url: `${origin}/ping`,
    metrics_file: join(place.root, "m.prom")
  })
  place.put("ABCD/a.txt", "one")
  place.put("EFGH/b.txt", "two")
  // A minute ago: an archive made anew is another one by its time alone.
  const env = { NODE_OPTIONS: `--import=${clock}`, CLOCK_OFFSET: "-60000" }
  assert.strictEqual((await run(["run", "--config", place.config], { env })).status, 0)
  told.length = 0
})
afterEach(() => {
  place.remove()
  server.close()
})

const zipper = (command: string, ...args: ReadonlyArray<string>) => run([command, "--config", place.config, ...args])
const at = (name: string) => join(place.target, "ABCD", name)
const documentOf = async (command: string, ...args: ReadonlyArray<string>) =>
  JSON.parse((await zipper(command, "--json", ...args)).stdout)
const reported = async () => {
  const { ok, problems } = await documentOf("report", "--out", join(place.root, "r.html"))
  return ok ? [] : problems.map(({ subject }: { readonly subject: string }) => subject)
}
const abcd = async () => (await documentOf("status")).archive.folders[0]
const flip = (file: string) => {
  const content = readFileSync(file)
  content[40] = (content[40] ?? 0) ^ 1
  writeFileSync(file, content)
}

describe("what verify finds", () => {
  it("is told once, remembered, shown everywhere, and ends with the next archive", async () => {
    assert.isNull((await abcd()).verified)
    assert.deepStrictEqual(await reported(), [])
    flip(at("ABCD.zip"))
    assert.strictEqual((await zipper("verify")).status, 1)
    assert.strictEqual((await zipper("verify")).status, 1)
    const titles = told.filter((each) => each.startsWith("/message")).map((each) => each.replace(/ on \S+$/, ""))
    assert.deepStrictEqual(titles, ["/message zipper: 1 of 2 archives is not good"])
    assert.include(told.find((each) => each.startsWith("/ping/fail")) ?? "", "ABCD.zip: damaged")
    assert.include(readFileSync(join(place.root, "zipper.log"), "utf8"), "ABCD.zip is not what was published")
    const folder = await abcd()
    assert.deepInclude(folder.verified, { result: "damaged" })
    assert.strictEqual((await documentOf("status")).damaged, 1)
    assert.strictEqual((await zipper("status", "--max-age", "1d")).status, 1)
    const shown = (await zipper("status")).stdout
    assert.match(shown, /ABCD .*ARCHIVE DAMAGED$/m)
    assert.notInclude(shown, "all well")
    assert.deepStrictEqual(await reported(), ["ABCD"])
    const metrics = () => readFileSync(join(place.root, "m.prom"), "utf8")
    assert.include(metrics(), 'zipper_last_verify_failed{job="archive",folder="ABCD"} 1')
    assert.include(metrics(), 'zipper_last_verify_failed{job="archive",folder="EFGH"} 0')
    assert.include(metrics(), 'zipper_last_verified_timestamp_seconds{job="archive",folder="EFGH"} ')
    assert.include((await zipper("run")).stdout, "(verify found its archive damaged")
    const next = await abcd()
    assert.isNull(next.verified)
    assert.isNull(next.previous, "a damaged archive does not become the one before")
    assert.deepStrictEqual(await reported(), [])
    assert.notInclude(metrics(), 'zipper_last_verify_failed{job="archive",folder="ABCD"}')
    told.length = 0
    assert.strictEqual((await zipper("verify")).status, 0)
    assert.match(told.join("\n"), /^\/message zipper: 1 archive recovered on \S+$/)
    assert.deepInclude((await abcd()).verified, { result: "good" })
  })

  it("an archive that is not there is found without it, also of a folder that is gone from the source", async () => {
    rmSync(at("ABCD.zip"))
    assert.isTrue((await abcd()).lost)
    assert.deepStrictEqual(await reported(), ["ABCD"])
    rmSync(join(place.source, "ABCD"), { recursive: true })
    assert.isTrue((await abcd()).lost)
    for (const name of readdirSync(join(place.target, "ABCD"))) rmSync(at(name), { recursive: true })
    assert.isTrue((await abcd()).lost)
    assert.deepStrictEqual(await reported(), ["ABCD"])
    assert.strictEqual((await zipper("verify")).status, 1)
    assert.match(told.join("\n"), /1 of 2 archives is not good/)
  })

  it("a target that is not there is told and pinged, a mistyped folder is not", async () => {
    assert.strictEqual((await zipper("verify", "ABCE")).status, 2)
    assert.deepStrictEqual(told, [])
    renameSync(place.target, `${place.target}.away`)
    const { status, stderr } = await zipper("verify")
    assert.strictEqual(status, 1)
    assert.include(
      stderr,
      `cannot look for archives: the target ${place.target} does not exist: is its dataset mounted`
    )
    const [message, ping, ...more] = told
    assert.match(message ?? "", /^\/message zipper: nothing was verified on /)
    assert.match(ping ?? "", /^\/ping\/fail cannot look for archives: .*\nrun [0-9a-f]+$/)
    assert.deepStrictEqual(more, [])
  })

  it("a call that leaves a damaged archive out does not call it good again", async () => {
    const good = readFileSync(at("ABCD.zip"))
    flip(at("ABCD.zip"))
    assert.strictEqual((await zipper("verify")).status, 1)
    told.length = 0
    const partly = await zipper("verify", "--max-age", "30d", "--limit", "1")
    assert.strictEqual(partly.status, 1)
    assert.include(partly.stdout, "1 archive waits")
    assert.include(partly.stderr, "ABCD: its archive was not good at its last check, and waits by --limit")
    assert.deepStrictEqual(told, [])
    // Nor does one of chosen archives speak of all.
    place.configure({ ...JSON.parse(readFileSync(place.config, "utf8")), notify_on: ["success", "recovery"] })
    assert.strictEqual((await zipper("verify", "EFGH")).status, 0)
    assert.match(told.join("\n"), /^\/message zipper: 1 chosen archive is good on [^\n]+$/)
    writeFileSync(at("ABCD.zip"), good)
    assert.strictEqual((await zipper("verify", "--max-age", "30d")).status, 0)
    assert.match(told.join("\n"), /recovered/)
    place.put("EFGH/more", "two")
    assert.strictEqual((await zipper("run")).status, 0)
    told.length = 0
    assert.strictEqual((await zipper("verify", "--prev")).status, 0)
    assert.match(told.join("\n"), /^\/message zipper: all previous archives are good on [^\n]+$/)
  })

  it("a message that does not arrive is on standard error, in the document and in status, and comes with the next", async () => {
    flip(at("ABCD.zip"))
    down = true
    const { stderr } = await zipper("verify", "--quiet")
    assert.lengthOf(stderr.match(/a message could not be delivered/g) ?? [], 1)
    assert.notInclude(stderr, "t0ken")
    assert.include((await documentOf("verify")).undelivered, "this is not Gotify's answer")
    const [undelivered] = (await documentOf("status")).archive.undelivered
    assert.match(undelivered.title, /1 of 2 archives is not good/)
    assert.match((await zipper("status")).stdout, /a message could not be delivered/)
    assert.include(await reported(), "archive")
    down = false
    await zipper("verify")
    assert.match(told.join("\n"), /1 of 2 archives is not good/)
    assert.deepStrictEqual((await documentOf("status")).archive.undelivered, [])
  })
})
