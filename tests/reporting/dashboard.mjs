// Opens the dashboard at an address, does with it what people do while a run trains, and prints what was found as JSON.
import { LOOKS, start } from "./chromium.mjs";

const [folder, address, pictures] = process.argv.slice(2);
const found = { console: [], requests: [], views: {} };
const { browser, open, judge } = await start(folder, found);
const row = (page, name) => page.locator("#runs tbody tr", { has: page.locator("label", { hasText: name }) });
const label = (page) => page.locator(".frame").nth(1).getAttribute("aria-label");  // of training episodes
const state = (page, name, wanted) => row(page, name).locator(`.state.${wanted}`).waitFor();

// As people have it, with the page's own policy in force, by keyboard alone.
const page = await open({ viewport: { width: 1280, height: 844 } });
await page.goto(address);
await page.evaluate(() => { globalThis.since = "the beginning"; });
await state(page, "live", "running");
found.address = page.url();
await page.getByRole("searchbox").fill("seeds finish");
found.sifted = await page.locator("#runs tbody tr:visible label").allTextContents();
await page.getByRole("searchbox").fill("");
const box = row(page, "live").getByRole("checkbox");
await box.press("Space");
await page.locator("#curves canvas").nth(1).waitFor();
found.labels = [await label(page)];
const points = () => page.evaluate(() => shown.runs[0].episodes.steps.length);
found.points = [await points()];
await page.locator(".frame").nth(1).press("+");  // a person looks closer
const zoom = () => page.evaluate(() => document.querySelectorAll(".frame")[1].dataset.since ??= "here");
await zoom();
for (let times = 0; times < 2; times++) {
  await page.waitForFunction((before) => document.querySelectorAll(".frame")[1].getAttribute("aria-label") !== before, found.labels.at(-1));
  found.labels.push(await label(page));
  found.points.push(await points());
}
found.kept = await page.evaluate(() => [since, document.activeElement.dataset.since]);
found.controls = await page.locator(".kept button:visible").count();
if (found.controls) {
  const button = row(page, "live").getByRole("button");
  await button.press("Enter");
  await state(page, "live", "stopped");
  found.focus = await page.evaluate(() => document.activeElement.textContent);
  await button.press("Enter");
  await state(page, "live", "running");
}
found.texts = await page.locator("#runs tbody").innerText();
await page.context().close();

for (const [name, width, colorScheme] of LOOKS) {
  const page = await open({ viewport: { width, height: 844 }, colorScheme, bypassCSP: true });
  await page.goto(address);
  const view = {};
  await row(page, "live").waitFor();
  await page.getByRole("checkbox", { name: "Show all runs of the table" }).check();
  await page.locator("#inside canvas").nth(4).waitFor();
  view.charts = await page.locator("canvas").count();
  if (pictures) await page.screenshot({ path: `${pictures}/dashboard-${name}.png`, fullPage: true });
  await judge(page, view);
  found.views[name] = view;
  await page.context().close();
}
await browser.close();
console.log(JSON.stringify(found));
