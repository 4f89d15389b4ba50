/** What is said in each room: a name and a text a line, `\n` where a line breaks within a message, nothing for a pause. */
export const rooms = {
  lobby: String.raw`
Mara: Morning, everyone ☀️
Jonas: Morning! Is the coffee machine alive again?
Mara: It is. It wants its drip tray emptied first, though.
Priya: I emptied it yesterday. It is a matter of trust now.
Jonas: 😂
Layla: صباح الخير! وصلت للتو، القطار كان متأخرًا كالعادة
Mara: صباح النور, Layla! Same train as Noa?
Noa: כן, אנחנו באותה רכבת. עוד חמש דקות ☕
Tomás: Reminder: the walk-through of the new rooms is at 11. Anyone who wants to break something beforehand is welcome.
Yuki: Define “break”.
Tomás: Anything short of unplugging the rack. We had that last year.
Yuki: So pulling one network cable is fine?
Tomás: One cable is exactly what I would pull.

Priya: I wrote down what we learned from the last outage. Short version: the dashboards were right, we did not look at them. Long version: between 02:10 and 02:24 the alert fired four times, each time it was acknowledged by someone who assumed that someone else was already on it, and the fourth time it was me, half asleep, on a phone, in a tunnel. Nobody did anything wrong, and that is precisely the problem: the page says who acknowledged, it does not say who is doing something. I would like us to change one thing only, and it is not the alert.
Jonas: This is a good write-up, Priya.
Mara: “On a phone, in a tunnel” should be the title.
Priya: I have changed the title.
Layla: هل يمكنني إضافة قسم عن الرسائل المفقودة؟ (there were none, but people will ask)
Priya: Please do. Link them to https://www.rfc-editor.org/rfc/rfc6455 while you are at it, half of the questions are answered there.

Yuki: I pulled the cable.
Tomás: And?
Yuki: Nothing. The page said “connection lost” for four seconds, and then it had everything that was said meanwhile.
Tomás: That is the most boring demo I have ever loved.
Noa: 🎉🎉🎉
Mara: Lunch? The place with the dumplings, 12:30.
Jonas: In.
Priya: In.
Layla: انا معكم
Yuki: 行きます 🥟
`,
  rust: String.raw`
Tomás: Does anyone know why this compiles? I expected the borrow checker to stop me.
Tomás: let first = names.first().cloned();\nnames.push("Ann".into());\nprintln!("{first:?}");
Yuki: Because of the .cloned(). You own the Option<String>, nothing is borrowed when you push.
Tomás: …and without it, it complains about exactly the line that I would have complained about.
Yuki: It is a very polite reviewer.
Priya: Related: we clone the room name on every message. I measured it, it is an Arc<str>, so it is one increment.
Yuki: How much is that at 50 000 messages a second?
Priya: Nothing that I can see. The system calls are the bill, as always.

Jonas: I read the chapter on async cancellation twice and I still drop futures that I should not.
Priya: Rule of thumb that works for me: if it is in a select!, it must be fine to lose it between any two awaits. If it is not, put it in a task and select on the handle.
Jonas: That is a rule I can remember. Thank you.
Tomás: Docs, for the next person who asks: https://doc.rust-lang.org/std/pin/
Yuki: That link answers a question nobody asked yet.
Tomás: They will.

Priya: The lint that forbids unwrap found one in my test helper. I felt caught.
Yuki: Tests may unwrap!
Priya: I know. It was the helper’s helper.
`,
  kitchen: String.raw`
Layla: Who left the lentils soaking?
Mara: Me, for the dal tonight. Do not throw them out this time 😅
Noa: זה היה רק פעם אחת!
Layla: מה? أنا لا أقرأ العبرية بعد 🙈
Noa: “It was only once.” I will teach you the alphabet, you teach me yours.
Layla: اتفقنا 🤝
Mara: The recipe, since two people asked:\n\n1. Red lentils, rinsed until the water is clear\n2. Turmeric, salt, simmer 20 minutes\n3. Cumin, garlic and dried chilli in hot ghee\n4. Pour 3 over 2 and stand back
Jonas: “Stand back” is doing a lot of work in that recipe.
Mara: You were there.

Yuki: Is there a rule for the top shelf?
Jonas: The rule is that Tomás can reach it.
Tomás: The rule is fair.
Noa: 🪜
`,
  'book-club': String.raw`
Noa: Finished it at 3 a.m. No spoilers, but chapter nineteen!
Jonas: I am at seventeen. Do not say a word.
Noa: My lips are sealed 🤐
Mara: I liked the slow part in the middle most, to be honest. The forty pages in which nothing happens but weather.
Priya: The weather is the plot.
Mara: Say more?
Priya: Every decision in the book is taken in rain. I went back and checked. The one time it is sunny is the letter, and nobody acts on it until the clouds are back. It could be a coincidence, but the author kept a weather diary for thirty years: https://en.wikipedia.org/wiki/Pathetic_fallacy
Jonas: Now I have to start again.
Noa: Worth it.

Layla: للشهر القادم أقترح رواية قصيرة، أقل من مئتي صفحة
Mara: Short would be a mercy. +1
Jonas: +1, under two hundred pages, and no weather.
Priya: ☔
`,
}
