/** To be loaded before zipper pull: writes to `file` how long the stream took, and what our process alone spent meanwhile. */
export const watchStream = (file: string): string => `
const programs = require("node:child_process")
const { spawn } = programs
programs.spawn = (program, args, ...rest) => {
  const child = spawn(program, args, ...rest)
  if (args?.[0] === "receive") {
    const [cpu, began] = [process.cpuUsage(), performance.now()]
    child.on("exit", () => {
      const { system, user } = process.cpuUsage(cpu)
      const spent = { seconds: (performance.now() - began) / 1e3, cpu: (user + system) / 1e6 }
      require("node:fs").writeFileSync(${JSON.stringify(file)}, JSON.stringify(spent))
    })
  }
  return child
}
`
