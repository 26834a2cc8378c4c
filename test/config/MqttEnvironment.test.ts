import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import { mqttFromEnvironment } from "../../src/config/Config.ts"

describe("the broker of the environment", () => {
  it("is that of MQTT_HOST, with what the configuration takes by default", () => {
    assert.deepStrictEqual(mqttFromEnvironment({}), Either.right(undefined))
    assert.deepStrictEqual(mqttFromEnvironment({ MQTT_HOST: "", MQTT_PORT: "1" }), Either.right(undefined))
    assert.deepStrictEqual(
      mqttFromEnvironment({
        MQTT_HOST: "broker",
        MQTT_PORT: "1884",
        MQTT_USERNAME: "me",
        MQTT_PASSWORD: "hush"
      }),
      Either.right({
        host: "broker",
        port: 1884,
        topic: "servers/host-backups",
        username: "me",
        password: Redacted.make("hush"),
        timeout_seconds: 10
      })
    )
  })

  it("is told by the names of the variables when it is wrong, without the password", () => {
    assert.deepStrictEqual(
      mqttFromEnvironment({ MQTT_HOST: "mqtt://broker", MQTT_PORT: "0x1", MQTT_PASSWORD: "hush" }),
      Either.left([
        'MQTT_HOST: "mqtt://broker" is not a host name or address',
        'MQTT_PORT: "0x1" is not a whole number from 1 to 65535'
      ])
    )
  })

  it("takes an IPv6 address with brackets or without, and no port in the host", () => {
    for (const host of ["::1", "[::1]", "fe80::1%eth0", "[fe80::1%eth0]", "broker.lan", "10.0.0.1"]) {
      const found = Either.map(mqttFromEnvironment({ MQTT_HOST: host }), (broker) => broker?.host)
      assert.deepStrictEqual(found, Either.right(host.replace(/[[\]]/g, "")), host)
    }
    for (const host of ["broker:1884", "[::1]:1884", "[::1", "::1]", "[broker]", "[]"]) {
      assert.isTrue(Either.isLeft(mqttFromEnvironment({ MQTT_HOST: host })), host)
    }
  })
})
