import { readFileSync } from 'node:fs'
import { beforeEach, describe, expect, test, vi, type MockInstance } from 'vitest'
import { bodies, enterLobby, message } from './fake.ts'
import { isMessage, readFrame } from './frame.ts'

const PROTOCOL = readFileSync('../docs/protocol.md', 'utf8')
const [, EXAMPLES = ''] = /```json server\n(.*?)```/s.exec(PROTOCOL) ?? []
const FRAMES = EXAMPLES.trim().split('\n')

let warn: MockInstance

beforeEach(() => {
  warn = vi.spyOn(console, 'warn').mockReturnValue()
})

describe('a frame', () => {
  test.each(FRAMES)('of the protocol is read: %s', (text) => {
    expect(readFrame(text)).toEqual(JSON.parse(text))
    expect(warn).not.toHaveBeenCalled()
  })

  test('of a type that is not known yet is nobody’s fault', () => {
    expect(readFrame('{"type":"whisper"}')).toEqual({ type: 'whisper' })
    expect(readFrame('{"type":"constructor"}')).toEqual({ type: 'constructor' })
    expect(warn).not.toHaveBeenCalled()
  })

  test.each([
    '{',
    'null',
    '7',
    '[]',
    '{}',
    '{"type":7}',
    '{"type":"live","seq":"5"}',
    '{"type":"count","connections":1,"instances":"one"}',
    '{"type":"typing","room":"lobby","from":[null]}',
    '{"type":"typing","room":"lobby"}',
    '{"type":"joined","seq":5}',
    '{"type":"status","relay":"fine"}',
    '{"type":"drain"}',
    '{"type":"error","code":"bad_frame"}',
    '{"type":"ack","id":"c0ffee","seq":null}',
    '{"type":"welcome","user":{"id":"a","name":"Ann"}}',
  ])('that is not what the protocol says is dropped, and told to who looks: %s', (text) => {
    expect(readFrame(text)).toBeUndefined()
    expect(warn).toHaveBeenCalledOnce()
  })

  test.each(['seq', 'room', 'id', 'from', 'body', 'at'])('of a message without %s is none', (name) => {
    expect(isMessage(message(5))).toBe(true)
    expect(isMessage({ ...message(5), [name]: undefined })).toBe(false)
  })

  test('that is dropped takes nothing else with it', () => {
    vi.useFakeTimers()
    const { chat, network } = enterLobby()
    network.socket.live()
    const { body: _, ...bodiless } = message(101)
    network.socket.onmessage?.(new MessageEvent('message', { data: JSON.stringify({ type: 'message', ...bodiless }) }))
    network.socket.say({ type: 'message', ...message(102) })
    expect(bodies(chat)).toEqual(['message 102'])
    expect(warn).toHaveBeenCalledOnce()
  })
})
