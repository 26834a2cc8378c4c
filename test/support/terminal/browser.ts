import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Readable, Writable } from "node:stream"
import { browserName } from "../programs.ts"

/** A real browser without a window, spoken to over two pipes (Chrome DevTools Protocol: JSON, NUL after each message). */

interface Message {
  readonly id?: number
  readonly sessionId?: string
  readonly method?: string
  readonly params?: unknown
  readonly result?: unknown
  readonly error?: { readonly message: string }
}

type Params = Readonly<Record<string, unknown>>

/** Part of a message, by its path; undefined where it has none. */
const part = (value: unknown, ...path: ReadonlyArray<string>): unknown =>
  path.reduce<unknown>(
    (inner, key) =>
      typeof inner === "object" && inner !== null
        ? Object.entries(inner).find(([name]) => name === key)?.[1]
        : undefined,
    value
  )

export interface PageOptions {
  readonly width: number
  readonly height?: number
  readonly dark?: boolean
  readonly scripts?: boolean
  /** Time zone of the reader. */
  readonly zone?: string
}

/** What the test sees of a page. */
export interface Page {
  /** The value of an expression in the page. */
  readonly evaluate: (expression: string) => Promise<unknown>
  readonly send: (method: string, params?: Params) => Promise<unknown>
  /** The upper `height` pixels of the page as PNG. */
  readonly picture: (height: number) => Promise<Buffer>
  /** What it asked for, its own address left out. */
  readonly requests: ReadonlyArray<string>
  /** Whatever was complained of, on the console and elsewhere. */
  readonly complaints: ReadonlyArray<string>
}

export interface Browser {
  /** Opens an address in a page of its own, and waits until it is loaded. */
  readonly open: (url: string, options: PageOptions) => Promise<Page>
  readonly close: () => Promise<void>
}

const isPipe = (stream: unknown): stream is Readable & Writable =>
  typeof stream === "object" && stream !== null && "on" in stream

export const openBrowser = async (): Promise<Browser> => {
  const profile = mkdtempSync(join(tmpdir(), "zipper-browser-"))
  const child: ChildProcess = spawn(
    browserName ?? "",
    [
      "--headless",
      "--remote-debugging-pipe",
      // Inside a container, and as root, its own sandbox cannot be had; it opens our own file.
      "--no-sandbox",
      "--disable-gpu",
      "--disable-dev-shm-usage",
      "--no-first-run",
      "--disable-background-networking",
      "--hide-scrollbars",
      "--force-device-scale-factor=1",
      `--user-data-dir=${profile}`
    ],
    { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] }
  )
  const [, , , writer, reader] = child.stdio
  if (!isPipe(writer) || !isPipe(reader)) throw new Error("no pipes to the browser")

  let last = 0
  let rest = ""
  const waiting = new Map<
    number,
    { readonly resolve: (result: unknown) => void; readonly reject: (error: Error) => void }
  >()
  const listeners = new Set<(message: Message) => void>()
  const failAll = (error: Error) => {
    for (const { reject } of waiting.values()) reject(error)
    waiting.clear()
  }
  child.on("error", failAll)
  const ended = new Promise<void>((resolve) => {
    child.on("close", () => {
      failAll(new Error("the browser ended"))
      resolve()
    })
  })
  reader.setEncoding("utf8")
  reader.on("data", (chunk: string) => {
    const texts = `${rest}${chunk}`.split("\0")
    rest = texts.pop() ?? ""
    for (const text of texts) {
      const message: Message = JSON.parse(text)
      const call = message.id === undefined ? undefined : waiting.get(message.id)
      if (message.id === undefined || call === undefined) {
        for (const listener of listeners) listener(message)
        continue
      }
      waiting.delete(message.id)
      if (message.error === undefined) call.resolve(message.result)
      else call.reject(new Error(message.error.message))
    }
  })

  const call = (method: string, params: Params = {}, sessionId?: string): Promise<unknown> => {
    last += 1
    const id = last
    writer.write(`${JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) })}\0`)
    return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }))
  }

  const open = async (url: string, options: PageOptions): Promise<Page> => {
    const { dark = false, height = 900, scripts = true, width, zone = "Asia/Tokyo" } = options
    const target = part(await call("Target.createTarget", { url: "about:blank" }), "targetId")
    const session = String(part(await call("Target.attachToTarget", { targetId: target, flatten: true }), "sessionId"))
    const send = (method: string, params?: Params) => call(method, params, session)
    const requests: Array<string> = []
    const complaints: Array<string> = []
    const loaded = new Promise<void>((resolve) => {
      listeners.add(({ method, params, sessionId }) => {
        if (sessionId !== session) return
        if (method === "Page.loadEventFired") resolve()
        const asked = String(part(params, "request", "url"))
        if (method === "Network.requestWillBeSent" && asked !== url) requests.push(asked)
        if (
          method === "Runtime.exceptionThrown" ||
          method === "Runtime.consoleAPICalled" ||
          method === "Log.entryAdded"
        ) {
          complaints.push(JSON.stringify(params))
        }
      })
    })
    await Promise.all(["Page", "Network", "Runtime", "Log"].map((domain) => send(`${domain}.enable`)))
    await send("Emulation.setDeviceMetricsOverride", {
      width,
      height,
      deviceScaleFactor: 1,
      mobile: width < 600
    })
    await send("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }]
    })
    await send("Emulation.setTimezoneOverride", { timezoneId: zone })
    if (!scripts) await send("Emulation.setScriptExecutionDisabled", { value: true })
    await send("Page.navigate", { url })
    await loaded
    return {
      send,
      requests,
      complaints,
      evaluate: async (expression) => {
        const answer = await send("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true })
        if (part(answer, "exceptionDetails") !== undefined) throw new Error(JSON.stringify(answer))
        return part(answer, "result", "value")
      },
      picture: async (pixels) => {
        const clip = { x: 0, y: 0, width, height: pixels, scale: 1 }
        const answer = await send("Page.captureScreenshot", {
          format: "png",
          captureBeyondViewport: true,
          clip
        })
        return Buffer.from(String(part(answer, "data")), "base64")
      }
    }
  }

  return {
    open,
    close: async () => {
      await call("Browser.close").catch(() => child.kill("SIGKILL"))
      await ended
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
    }
  }
}
