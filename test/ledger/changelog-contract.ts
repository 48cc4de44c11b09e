import type { Test } from 'tap'
import { ChangelogFenced, type Change, type Changelog, type ChangelogWriter } from '../../ledger/changelog.js'

export interface ChangelogSides {
  /** A changelog of two partitions that holds nothing. */
  open (t: Test): Promise<Changelog>
}

const change = (key: string, value: string | null): Change =>
  ({ key: Buffer.from(key), value: value === null ? null : Buffer.from(value) })

async function valuesOf (writer: ChangelogWriter, from = 0n): Promise<Record<string, string>> {
  const values = new Map<string, string>()
  for await (const { key, value } of writer.read(from)) {
    if (value === null) values.delete(`${key}`)
    else values.set(`${key}`, `${value}`)
  }
  return Object.fromEntries(values)
}

/** What every side of the port `Changelog` does. */
export async function changelogContract (t: Test, { open }: ChangelogSides): Promise<void> {
  await t.test('gives back the last value of each key, and none of a key that is gone', async t => {
    const changelog = await open(t)
    const writer = await changelog.open(1)
    t.strictSame(await valuesOf(writer), {})
    t.equal(await writer.last(Buffer.from('place')), undefined)
    await writer.write([change('a', '1'), change('b', '1'), change('place', '1')])
    await writer.write([change('a', '2'), change('b', null), change('c', 'more'), change('place', '2')])
    t.strictSame(await valuesOf(writer), { a: '2', c: 'more', place: '2' })
    t.equal(`${await writer.last(Buffer.from('place'))}`, '2')
    t.strictSame(await valuesOf(await changelog.open(0)), {}, 'of its own partition alone')
  })

  await t.test('takes what is larger than one batch as a whole', async t => {
    const writer = await (await open(t)).open(0)
    const large = 'x'.repeat(300_000)
    await writer.write(Array.from({ length: 20 }, (_, i) => change(`k${i}`, large + i)))
    const values = await valuesOf(writer)
    t.strictSame(Object.keys(values).length, 20)
    t.equal(values['k19'], `${large}19`)
  })

  await t.test('a writer that slept through a change of owners is refused, and leaves nothing', async t => {
    const changelog = await open(t)
    const before = await changelog.open(0)
    await before.write([change('a', 'before')])
    const after = await changelog.open(0)
    await after.write([change('a', 'after')])
    await t.rejects(before.write([change('a', 'late')]), ChangelogFenced)
    t.strictSame(await valuesOf(after), { a: 'after' })
    await after.write([change('b', 'on')])
    t.strictSame(await valuesOf(after), { a: 'after', b: 'on' })
  })

  await t.test('reads on from an offset', async t => {
    const writer = await (await open(t)).open(0)
    await writer.write([change('a', '1')])
    const from = await writer.next()
    await writer.write([change('b', '1')])
    t.strictSame(await valuesOf(writer, from), { b: '1' })
  })
}
