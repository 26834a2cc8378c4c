import { readFileSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { join } from "node:path"
import * as Either from "effect/Either"
import * as JSONSchema from "effect/JSONSchema"
import * as Schema from "effect/Schema"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type Documented, documents, isDocumented } from "../../src/cli/commands/schema.ts"
import { jsonExamples } from "../../src/cli/referenceJson.ts"
import { makePlace, type Place, run } from "../support/program/built.ts"

let place: Place
beforeAll(() => {
  place = makePlace()
  place.put("ABCD/a.txt", "one")
  place.put("EFGH/b.txt", "two")
})
afterAll(() => place.remove())

/** What is wrong with a document, strictly: a key that its schema does not have is a mistake. */
const mistakeIn = <A, I>(schema: Schema.Schema<A, I>, document: unknown): string | undefined =>
  Either.match(Schema.decodeUnknownEither(schema, { onExcessProperty: "error" })(document), {
    onLeft: (error) => error.message,
    onRight: () => undefined
  })

const schemaOf = (name: Documented) => Schema.make(documents[name].ast)

/** Runs a command with `--json`; its document, once it was found to be what the schema says. */
const documentOf = async (name: Documented, args: ReadonlyArray<string>, env: Record<string, string> = {}) => {
  const { status, stdout, stderr } = await run([...name.split(" "), ...args, "--json"], {
    cwd: place.root,
    env
  })
  const document: unknown = JSON.parse(stdout)
  assert.isUndefined(mistakeIn(schemaOf(name), document), `${name} ${args.join(" ")}: ${stdout}${stderr}`)
  return { status, document, text: stdout }
}

describe("the documents of --json", () => {
  it("are what their schemas say, of a run", async () => {
    const config = ["--config", place.config]
    const first = await documentOf("run", config)
    assert.strictEqual(first.status, 0)
    assert.include(first.text, '"archived": 2')
    writeFileSync(join(place.target, "EFGH/EFGH.zip"), "damaged")
    await Promise.all([
      documentOf("run", [...config, "--dry-run", "--force"]),
      documentOf("status", config),
      documentOf("verify", config),
      documentOf("restore", ["ABCD", "--to", join(place.root, "restored"), ...config]),
      documentOf("restore", ["EFGH", "--to", join(place.root, "damaged"), ...config]),
      documentOf("restore", ["--all", "--to", join(place.root, "several"), ...config]),
      documentOf("ls", config),
      documentOf("ls", ["ABCD", ...config]),
      documentOf("ls", ["EFGH", ...config])
    ])
    const failed = await documentOf("run", [...config, "--folder", "NONE"])
    assert.deepInclude(failed, { status: 1 })
  })

  it("are what their schemas say, of what looks and tells", async () => {
    const server = createServer((_request, response) => response.end('{"id":1}')).listen(0, "127.0.0.1")
    await new Promise((resolve) => server.once("listening", resolve))
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    const told = join(place.root, "told.json")
    const url = `http://127.0.0.1:${port}/message`
    const keys: unknown = JSON.parse(readFileSync(place.config, "utf8"))
    const gotify = { url, token: "AbC" }
    writeFileSync(told, JSON.stringify({ ...Object(keys), gotify }), { mode: 0o600 })
    const bad = join(place.root, "bad.json")
    writeFileSync(bad, JSON.stringify({ ...Object(keys), umask: "999", max_worker: 2 }))
    const nowhere = join(place.root, "nowhere.json")
    writeFileSync(nowhere, JSON.stringify({ ...Object(keys), source_path: "/nonexistent" }))
    const all = await Promise.all([
      documentOf("check", ["--config", place.config, "--systemd"]),
      documentOf("check", ["--config", nowhere]),
      documentOf("config validate", ["--config", told]),
      documentOf("config validate", ["--config", bad]),
      documentOf("config show", ["--config", told]),
      documentOf("notify-test", ["--config", told]),
      documentOf("notify-test", ["--config", told, "--dry-run"]),
      documentOf("suspend", ["--dry-run"], { MQTT_HOST: "broker" }),
      documentOf("delegate", ["--role", "send", "--user", "backup", "tank/data"]),
      documentOf("delegate", ["--role", "send", "--user", "root", "tank/data"]),
      documentOf("config init", ["--source", place.source, "--target", place.target, "--live", "new.json"]),
      documentOf("report", ["--config", place.config, "--out", join(place.root, "report.html")])
    ]).finally(() => server.close())
    assert.deepStrictEqual(
      all.map(({ status }) => status),
      [0, 3, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]
    )
    const [checked, , , invalid] = all
    assert.include(checked?.text, "--quiet")
    assert.include(checked?.text, "-archive.timer")
    assert.include(invalid?.text, "did you mean max_workers?")
    assert.notInclude(all.map(({ text }) => text).join(""), "AbC")
  })

  it("are those of errors where a command cannot begin", async () => {
    const names = Object.keys(documents).filter(isDocumented)
    const broken: Partial<Record<Documented, ReadonlyArray<string>>> = {
      // Says so in its own document, which the test above has seen.
      "config validate": ["--no-such-option"],
      "config init": ["no/such/folder/c.json"],
      prepare: ["tank/x@snap"],
      delegate: ["--role", "nobody"],
      suspend: [],
      demo: ["--no-such-option"]
    }
    const done = await Promise.all(
      names.map((name) => documentOf(name, broken[name] ?? ["--config", "/nonexistent/c.json"]))
    )
    for (const { document, status, text } of done) {
      assert.include([1, 2], status, text)
      assert.hasAllKeys(document, ["version", "errors"])
    }
  })

  it("are what their schemas say, of the demonstration", async () => {
    const { document, status } = await documentOf("demo", [])
    assert.strictEqual(status, 0)
    assert.deepInclude(document, { ok: true, folder: null, archived: [3, 1] })
  })
})

describe("the schemas", () => {
  it("are those of the manual's examples", () => {
    for (const name of ["run", "status", "pull", "push", "prune", "check", "verify", "restore"]) {
      assert.isTrue(Object.hasOwn(jsonExamples, name), name)
    }
    for (const [name, { document }] of Object.entries(jsonExamples)) {
      if (!isDocumented(name)) assert.fail(`${name} prints no document`)
      else assert.isUndefined(mistakeIn(schemaOf(name), JSON.parse(document)), name)
    }
  })

  it("can be had as JSON Schema, with every key explained", async () => {
    for (const name of Object.keys(documents).filter(isDocumented)) {
      const made = JSONSchema.make(schemaOf(name))
      assert.include(JSON.stringify(made), '"errors"', name)
    }
    const { stdout } = await run(["schema", "config", "validate"])
    assert.deepStrictEqual(JSON.parse(stdout), JSON.parse(JSON.stringify(JSONSchema.make(schemaOf("config validate")))))
    const unknown = await run(["schema", "rum"])
    assert.strictEqual(unknown.status, 2)
    assert.include(unknown.stderr, "config validate")
  })
})
