/** Names of hosts and users as ssh takes them: those of ssh_config(5) aliases too, but nothing that a shell could act on. */

const unsafe = /[\s\0-\x1f\x7f'"`$\\;&<>|(){}/@]/

/** `user@host` in its parts; a name may hold an @ of its own, a host does not. */
export const addressOf = (text: string): { readonly user: string | undefined; readonly host: string } => {
  const at = text.lastIndexOf("@")
  return at === -1 ? { user: undefined, host: text } : { user: text.slice(0, at), host: text.slice(at + 1) }
}

/** What is wrong with it as `host` or `user@host`, to go after it. */
export const hostProblem = (text: string): string | undefined => {
  const { host, user } = addressOf(text)
  if (host === "") return "names no host"
  if (host.startsWith("-")) return "names a host that begins with a dash, which ssh would take for an option"
  if (host.length > 255 || unsafe.test(host)) {
    return "is no host name, address or ssh alias; a port or a path does not belong to it"
  }
  const wrong = user === undefined ? undefined : userProblem(user)
  return wrong === undefined ? undefined : `names a user that ${wrong}`
}

/** What is wrong with it as the name of a user, to go after it. */
export const userProblem = (user: string): string | undefined => {
  if (user === "") return "is empty"
  if (user.startsWith("-")) return "begins with a dash, which ssh would take for an option"
  return user.length > 64 || /[\s\0-\x1f\x7f'"`$;&<>|(){}/:]|\\$/.test(user) ? "is no user name" : undefined
}

/** What is wrong with it as what goes after ssh's `-o`, to go after it. */
export const sshOptionProblem = (option: string): string | undefined => {
  if (option.startsWith("-")) return 'begins with a dash; give what goes after -o, such as "Compression=yes"'
  return /^[A-Za-z][A-Za-z0-9]*(?: *= *| +)[^\s\0-\x1f][^\0-\x1f]*$/.test(option)
    ? undefined
    : 'is no ssh option; expected KEY=VALUE, such as "IdentityFile=/root/.ssh/backup"'
}
