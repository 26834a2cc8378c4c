/** One thing that a check looked at. Only a problem stops a run. */
export interface Finding {
  readonly subject: string
  readonly status: "ok" | "warning" | "problem"
  readonly detail: string
}

export const ok = (subject: string, detail: string): Finding => ({ subject, status: "ok", detail })
export const warning = (subject: string, detail: string): Finding => ({ subject, status: "warning", detail })
export const problem = (subject: string, detail: string): Finding => ({ subject, status: "problem", detail })
