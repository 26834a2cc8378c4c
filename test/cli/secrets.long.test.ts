import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { createServer as createTcpServer, type Server as TcpServer } from "node:net"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { makePlace, type Place, run, zipper } from "../support/program/built.ts"

// Secrets with a mark in them go through every command and through the ways in which a server fails; then the mark is looked
// for in all that was said and written, and in what other programs were started with.

const mark = "MARKed"
const tokenOf = (what: string) => `A${mark}.${what}`

let place: Place
let server: Server
let broker: TcpServer
let origin: string
/** What the server does next. */
let answer: (request: IncomingMessage, response: ServerResponse) => void
/** What came to it. */
let heard: Array<string>

const portOf = (listening: Server | TcpServer): number => {
  const address = listening.address()
  return typeof address === "object" && address !== null ? address.port : 0
}

beforeEach(async () => {
  heard = []
  server = createServer((request, response) => {
    heard.push(JSON.stringify([request.url, request.headers]))
    request.resume().on("end", () => answer(request, response))
  })
  // Takes nobody: each connection ends with what no broker says.
  broker = createTcpServer((socket) => {
    socket.on("error", () => {})
    socket.write("220 smtp\r\n", () => socket.destroy())
  })
  for (const each of [server, broker]) {
    await new Promise<void>((resolve) => each.listen(0, "127.0.0.1", () => resolve()))
  }
  origin = `127.0.0.1:${portOf(server)}`
  place = makePlace({
    gotify: {
      url: `http://user:${tokenOf("login")}@${origin}/message?key=${tokenOf("query")}`,
      token: tokenOf("token"),
      timeout_seconds: 1
    },
    ping_url: `http://${origin}/${tokenOf("ping")}`,
    notify_on: ["success", "failure", "recovery"],
    metrics_file: "/PLACE/m.prom",
    syslog: true,
    mqtt: {
      host: "127.0.0.1",
      port: portOf(broker),
      username: "me",
      password: tokenOf("mqtt"),
      timeout_seconds: 1
    },
    replication: [
      {
        name: "nas",
        direction: "pull",
        host: "nas",
        user: "backup",
        datasets: ["tank/a"],
        destination: "b",
        retention: { daily: 1 },
        ping_url: `http://${origin}/${tokenOf("jobping")}`
      }
    ]
  })
  place.configure({ metrics_file: join(place.root, "m.prom") })
  place.put("ABCD/a.txt", "one")
  const bin = join(place.root, "bin")
  mkdirSync(bin)
  // Each tells what it was started with, and then does what its name says, or fails.
  for (const program of ["zfs", "zpool", "ssh", "logger", "flock"]) {
    const real =
      program === "flock"
        ? 'exec /usr/bin/flock "$@"'
        : program === "logger"
          ? "cat > /dev/null"
          : `echo "${program}: no" >&2; exit 1`
    const script = `#!/bin/sh\n{ tr '\\0' '\\n' < /proc/$$/environ; tr '\\0' '\\n' < /proc/$$/cmdline; } > ${place.root}/seen.${program}.$$\n${real}\n`
    writeFileSync(join(bin, program), script, { mode: 0o755 })
  }
})
afterEach(async () => {
  server.closeAllConnections()
  for (const each of [server, broker]) await new Promise((resolve) => each.close(resolve))
  place.remove()
})

const commands: ReadonlyArray<ReadonlyArray<string>> = [
  ["run", "--debug"],
  ["run", "--force", "--json"],
  ["run", "--dry-run", "--debug"],
  ["check", "--debug"],
  ["check", "--json"],
  ["status"],
  ["status", "--json"],
  ["verify", "--json"],
  ["restore", "ABCD", "--to", "BACK"],
  ["report", "--out", "PAGE"],
  ["notify-test", "--debug"],
  ["config", "validate"],
  ["config", "show"],
  ["pull", "--job", "nas", "--debug"],
  ["pull", "--job", "nas", "--dry-run", "--json"],
  ["prune", "--job", "nas", "--debug"],
  ["delegate", "--job", "nas"],
  ["suspend", "--debug"]
]

const fails: Readonly<Record<string, typeof answer>> = {
  "takes all": (_, response) => response.end('{"id":1}'),
  "says no": (_, response) => response.writeHead(403).end(`no: ${tokenOf("echo")}`),
  // Gives back whatever it was asked, in a place where it might be told.
  redirects: (request, response) =>
    response
      .writeHead(302, {
        location: `http://me:${tokenOf("there")}@127.0.0.1:9/${request.url}?t=${tokenOf("there")}`
      })
      .end(),
  "breaks off": (_, response) => response.socket?.destroy(),
  "speaks something else": (request) => request.socket.end(`HTTP/1.1 999 ${tokenOf("phrase")}\r\nX\r\n\r\n`)
}

/** Every file below the folder that holds the mark, but for those where it is meant to be. */
const marked = (): ReadonlyArray<string> =>
  (readdirSync(place.root, { recursive: true, encoding: "utf8" }) as ReadonlyArray<string>).filter((name) => {
    const path = join(place.root, name)
    return path !== place.config && statSync(path).isFile() && readFileSync(path, "latin1").includes(mark)
  })

const env = () => ({
  PATH: `${place.root}/bin:/usr/bin:/bin`,
  ZIPPER_GOTIFY_TOKEN: tokenOf("env"),
  MQTT_PASSWORD: tokenOf("mqttenv"),
  HOME: place.root
})

const perform = async (args: ReadonlyArray<string>) => {
  const words = args.map((word) => (word === "BACK" || word === "PAGE" ? join(place.root, word) : word))
  return run([...words, "--config", place.config], { env: env(), cwd: place.root })
}

describe("no secret is told", () => {
  for (const [how, does] of Object.entries(fails)) {
    it(`by any command, when a server ${how}`, async () => {
      answer = does
      const asked =
        how === "takes all" ? commands : commands.filter(([name]) => /run|check|notify|pull/.test(name ?? ""))
      for (const args of asked) {
        const { stderr, stdout } = await perform(args)
        assert.notInclude(stderr, mark, args.join(" "))
        assert.notInclude(stdout, mark, args.join(" "))
        assert.notMatch(stderr, /internal error|\n\s+at /)
      }
      assert.deepStrictEqual(marked(), [])
      // It was used all the same, and other programs were watched.
      assert.include(heard.join("\n"), tokenOf("env"))
      assert.include(heard.join("\n"), tokenOf("ping"))
      assert.isTrue(readdirSync(place.root).some((name) => name.startsWith("seen.")))
    })
  }

  it("by a configuration that is wrong", async () => {
    answer = (_, response) => response.end()
    const whole = readFileSync(place.config, "utf8")
    for (const [from, to] of [
      ['"token":', '"tokn":'],
      ['"token":', '"token"'],
      ['"token":', '"token",'],
      ['"url":"http', '"url":"htp'],
      ['"password":', '"password":[],"a":'],
      ['"ping_url":"http:', '"ping_url":"ftp:'],
      ["@127", "@@127"],
      ["http://user:", "http://us/er:p@ss"]
    ] as const) {
      assert.include(whole, from)
      writeFileSync(place.config, whole.replaceAll(from, to), { mode: 0o600 })
      const { status, stderr, stdout } = await run(["config", "validate", "--config", place.config])
      if (from !== "@127") assert.strictEqual(status, 2, `${to}: ${stderr}`)
      assert.notInclude(stderr + stdout, mark, to)
      assert.notInclude((await run(["config", "show", "--config", place.config])).stdout, mark)
    }
  })

  it.each(["SIGABRT", "SIGUSR2"] as const)(
    "by a process that ends by %s, unless node is told to report",
    async (signal) => {
      // It waits for a ping that nobody answers: then everything is loaded, and in use.
      answer = () => {}
      const cwd = join(place.root, "crash")
      mkdirSync(cwd)
      const args = ["-c", 'ulimit -c 0; exec "$0" "$@"', process.execPath, zipper, "run", "--config", place.config]
      const child = spawn("sh", args, { cwd, env: env(), stdio: "ignore" })
      const ended = once(child, "exit")
      const limit = setTimeout(() => child.kill("SIGKILL"), 60_000)
      const asked = setInterval(() => {
        if (heard.join().includes(tokenOf("ping"))) child.kill(signal)
      }, 20)
      assert.deepStrictEqual(await ended, [null, signal])
      clearInterval(asked)
      clearTimeout(limit)
      assert.deepStrictEqual(readdirSync(cwd), [])
      assert.deepStrictEqual(marked(), [])
    }
  )
})
