"""German."""
from .engine import table

JOIN = " "

# nominative with ein, der; accusative with einen, den; dative with einem
ANIMALS = table(
    "noun g ein der einen dem acc emoji",
    """
Fuchs | m | ein Fuchs | der Fuchs | einen Fuchs | einem Fuchs | Fuchs | 🦊
Hase | m | ein Hase | der Hase | einen Hasen | einem Hasen | Hasen | 🐰
Bär | m | ein Bär | der Bär | einen Bären | einem Bären | Bären | 🐻
Igel | m | ein Igel | der Igel | einen Igel | einem Igel | Igel | 🦔
Elefant | m | ein Elefant | der Elefant | einen Elefanten | einem Elefanten | Elefanten | 🐘
Löwe | m | ein Löwe | der Löwe | einen Löwen | einem Löwen | Löwen | 🦁
Drache | m | ein Drache | der Drache | einen Drachen | einem Drachen | Drachen | 🐉
Maus | f | eine Maus | die Maus | eine Maus | einer Maus | Maus | 🐭
Katze | f | eine Katze | die Katze | eine Katze | einer Katze | Katze | 🐱
Eule | f | eine Eule | die Eule | eine Eule | einer Eule | Eule | 🦉
Schildkröte | f | eine Schildkröte | die Schildkröte | eine Schildkröte | einer Schildkröte | Schildkröte | 🐢
Ente | f | eine Ente | die Ente | eine Ente | einer Ente | Ente | 🦆
Biene | f | eine Biene | die Biene | eine Biene | einer Biene | Biene | 🐝
""",
)

NAMES = table(
    "name g",
    """
Max | m
Emil | m
Otto | m
Paul | m
Anton | m
Karl | m
Jakob | m
Moritz | m
Konrad | m
Ludwig | m
Frieda | f
Mia | f
Klara | f
Lotte | f
Greta | f
Emma | f
Paula | f
Hanna | f
Marie | f
Johanna | f
""",
)

OBJECTS = table(
    "noun g der den emoji",
    """
Schlüssel | m | der Schlüssel | den Schlüssel | 🔑
Hut | m | der Hut | den Hut | 🎩
Ballon | m | der Ballon | den Ballon | 🎈
Schal | m | der Schal | den Schal | 🧣
Ring | m | der Ring | den Ring | 💍
Laterne | f | die Laterne | die Laterne | 🏮
Glocke | f | die Glocke | die Glocke | 🔔
Trommel | f | die Trommel | die Trommel | 🥁
Gitarre | f | die Gitarre | die Gitarre | 🎸
Buch | n | das Buch | das Buch | 📖
Boot | n | das Boot | das Boot | ⛵
Zelt | n | das Zelt | das Zelt | ⛺
""",
)

# as a predicate, then with einen/eine/ein, then as a noun
COLORS = table(
    "word m f n noun",
    """
rot | einen roten | eine rote | ein rotes | Rot
blau | einen blauen | eine blaue | ein blaues | Blau
grün | einen grünen | eine grüne | ein grünes | Grün
gelb | einen gelben | eine gelbe | ein gelbes | Gelb
weiß | einen weißen | eine weiße | ein weißes | Weiß
schwarz | einen schwarzen | eine schwarze | ein schwarzes | Schwarz
golden | einen goldenen | eine goldene | ein goldenes | Gold
silbern | einen silbernen | eine silberne | ein silbernes | Silber
braun | einen braunen | eine braune | ein braunes | Braun
""",
)

PLACES = table(
    "in",
    """
unter der alten Brücke
am Fluss
hinter der Mühle
im dunklen Wald
auf dem grünen Hügel
am See
im Apfelgarten
neben dem Leuchtturm
am Rand des Dorfes
in einem hohlen Baum
beim Wasserfall
in einem stillen Tal
""",
)

FOODS = table(
    "food emoji",
    """
Apfelkuchen | 🥧
heiße Suppe | 🍲
Honigbrot | 🍯
frisches Brot | 🍞
Erdbeeren | 🍓
Käse | 🧀
Kekse | 🍪
Pfannkuchen | 🥞
Kirschen | 🍒
Möhren | 🥕
""",
)

TRAITS = table(
    "m f",
    """
ein mutiger | eine mutige
ein neugieriger | eine neugierige
ein kluger | eine kluge
ein schüchterner | eine schüchterne
ein fröhlicher | eine fröhliche
ein freundlicher | eine freundliche
ein kleiner | eine kleine
ein müder | eine müde
""",
)

CITIES = table(
    "name",
    """
Berlin
Hamburg
Wien
Zürich
Köln
Leipzig
Dresden
Bremen
München
Basel
""",
)

COUNTRIES = table(
    "name capital",
    """
Frankreich | Paris
Deutschland | Berlin
Japan | Tokio
China | Peking
Spanien | Madrid
Italien | Rom
Ägypten | Kairo
Indien | Neu-Delhi
Russland | Moskau
Norwegen | Oslo
Portugal | Lissabon
Österreich | Wien
""",
)

ASK = [
    "[Erzähl mir|Bitte erzähl mir] eine [|kurze |kleine ]Geschichte über {hero.einen}.",
    "Erzähl mir eine Geschichte von {hero.dem} namens {hname}.",
    "Kannst du mir eine Geschichte über {hero.einen} und {color.@obj} {obj} erzählen?",
    "Ich möchte eine Geschichte über {hero.einen} und {friend.einen} hören.",
    "[Schreib mir|Erzähl mir] ein Märchen über {hero.einen} namens {hname}.",
]

BEGIN = "[[Es war einmal|Es lebte einmal] {trait.@hero} {hero} namens {hname}. {hero?Er:Sie} wohnte {home}.\
|Vor [langer Zeit|vielen Jahren] lebte {home} {trait.@hero} {hero} namens {hname}.] {hero.emoji}"

PLOTS = [
    [
        BEGIN,
        "{hname} hatte {color.@obj} {obj} und [nahm {obj?ihn:sie:es} überallhin mit|liebte {obj?ihn:sie:es} über alles|holte {obj?ihn:sie:es} jeden Tag hervor]. {obj.emoji}",
        "Eines [Morgens|Abends|Tages] war {obj.der} weg!",
        "{hname} suchte [überall|in jeder Ecke], aber [fand nichts|fand {obj?ihn:sie:es} nicht], und [weinte bitterlich|war sehr traurig|setzte sich hin und seufzte]. 😢",
        "[Da|Bald darauf|Nach einer Weile] kam {friend.ein} namens {fname} vorbei. „[Sei nicht traurig|Keine Sorge], {hname}“, sagte {fname}, „[ich helfe dir|wir suchen zusammen|vier Augen sehen mehr als zwei].“ {friend.emoji}",
        "[Sie suchten den ganzen Tag|Sie liefen viele Stunden|Sie suchten bis zum Abend], und [endlich|schließlich] fanden sie {obj.den} {spot}!",
        "{hname} [umarmte|dankte] {fname} und teilte mit {friend?ihm:ihr} das Abendessen: {food}. {food.emoji}",
        "[Seit diesem Tag|Von da an] waren {hname} und {fname} [die besten Freunde|beste Freunde|immer zusammen]. [🌟|❤️|😊|]",
    ],
    [
        BEGIN,
        "Eines [Nachts|Morgens|Tages] fand {hname} eine alte Karte. Sie zeigte den Weg zu einem [|geheimen ]Schatz. 🗺️",
        "{hero?Er:Sie} wollte nicht allein gehen und fragte {fname}, {friend?den:die} [{friend?tapferen:tapfere}|{friend?lustigen:lustige}] {friend.acc}. {friend.emoji}",
        "„[Ein Abenteuer|Ein Schatz]!“, rief {fname}. „[Natürlich komme ich mit|Gehen wir sofort los|Ich hole meine Stiefel].“",
        "[Der Weg war weit|Die Nacht war dunkel|Der Berg war hoch], aber {fname} [sang Lieder|erzählte Witze|trug eine Lampe], und {hname} [hatte keine Angst|las die Karte].",
        "Sie suchten {spot} und entdeckten eine [kleine|schwere|alte] Kiste. Darin fanden sie {color.@obj} {obj}! {obj.emoji}",
        "[Am Abend|Wieder zu Hause] gab es {food}, und {hname} sagte: „[Ein Freund ist der beste Schatz|Der Schatz gehört uns beiden|Ohne dich hätte ich das nie geschafft].“ {food.emoji}",
        "[So|Auf diese Weise] wurden {hname} und {fname} [die besten Freunde|Freunde fürs Leben]. [🌟|❤️|😊|]",
    ],
    [
        BEGIN,
        "{hname} hatte {fname} sehr gern. {fname} war {friend.ein} [aus der Nachbarschaft|mit einem guten Herzen]. {friend.emoji}",
        "Eines [kalten |]Tages war {fname} [krank|sehr traurig] und [konnte nicht spielen|wollte nicht lachen]. [🤒|😔]",
        "{hname} [hatte eine Idee|dachte lange nach]: „[Ich suche ein Geschenk|Ein Geschenk hilft bestimmt]!“",
        "{hero?Er:Sie} [lief durch den Regen|kletterte über Steine|rannte gegen den Wind] und [suchte etwas Schönes|suchte bis zum Abend].",
        "Schließlich fand {hname} {spot} {color.@obj} {obj}. [Wie schön|Genau richtig]! {obj.emoji}",
        "Als {fname} {obj.den} sah, [lachte|lächelte] {friend?er:sie} und fühlte sich gleich [besser|viel besser].",
        "Dann gab es {food}, und die beiden [erzählten Geschichten|sangen Lieder], bis [der Mond schien|die Sterne kamen]. {food.emoji} [🌟|❤️|😊|]",
    ],
]

RECALL = [
    ("{hname}", "Wie hieß {hero.der}?", "[{hero.der} hieß {hname}|{hero?Er:Sie} hieß {hname}]."),
    (
        "{fname}",
        "Wer war {hname}s Freund{friend?:in}?",
        "{hname}s Freund{friend?:in} war {fname}. {friend.emoji}",
    ),
    ("{color}", "Welche Farbe hatte {obj.der}?", "{obj.der} war {color}. {obj.emoji}"),
    ("{spot}", "Wo war {obj.der}?", "{obj.der} war {spot}."),
    ("{home}", "Wo wohnte {hname}?", "{hname} wohnte {home}. [🏡|]"),
    ("{food}", "Was gab es zu essen?", "Es gab {food}. {food.emoji}"),
    ("{obj}", "Was fand {hname}?", "{hname} fand {color.@obj} {obj}. {obj.emoji}"),
]

INTRO = [
    (
        "Hallo! Ich heiße {uname}, wohne in {city} und meine Lieblingsfarbe ist {ucolor.noun}. Ich habe {upet.einen}, {upet?er:sie} heißt {pname}.",
        "[Freut mich|Schön, dich kennenzulernen], {uname}! {city} ist eine [schöne|wunderbare] Stadt. [Viele Grüße an {pname}|Grüß {pname} von mir]! {upet.emoji}",
    ),
    (
        "[Guten Tag|Hallo], mein Name ist {uname} und ich wohne in {city}. Bei mir zu Hause lebt {upet.ein} namens {pname}. Meine Lieblingsfarbe ist {ucolor.noun}.",
        "[Willkommen|Schön, dass du da bist], {uname}! {upet.emoji} [Wie kann ich dir helfen|Was möchtest du wissen]?",
    ),
]

REMEMBER = [
    ("{uname}", "[Wie heiße ich|Weißt du noch meinen Namen]?", "Du heißt {uname}."),
    ("{city}", "[Wo wohne ich|In welcher Stadt wohne ich]?", "Du wohnst in {city}. [🏡|]"),
    ("{ucolor.noun}", "Was ist meine Lieblingsfarbe?", "Deine Lieblingsfarbe ist {ucolor.noun}. [🎨|]"),
    ("{pname}", "Wie heißt mein Haustier?", "Dein Haustier heißt {pname}. {upet.emoji}"),
    ("{upet.einen}", "Was für ein Haustier habe ich?", "Du hast {upet.einen}. {upet.emoji}"),
]

SMALL = [
    ("[Hallo|Guten Tag]!", "Hallo! Wie kann ich dir helfen? [👋|😊]"),
    ("Wie geht es dir?", "[Mir geht es gut|Sehr gut], danke. Und dir? 😊"),
    ("[Danke|Vielen Dank]!", "[Gern geschehen|Bitte schön]! [😊|🌟]"),
    ("Wer bist du?", "Ich bin ein sehr kleines Sprachmodell. Ich mag Geschichten. 📖"),
    ("Was kannst du?", "Ich kann Geschichten erzählen und einfache Fragen beantworten. [📖|]"),
    ("Gute Nacht!", "Gute Nacht! [Schlaf gut.|Träum schön.] 🌙"),
    ("Wie ist das Wetter?", "Ich kann nicht hinaussehen, aber hoffentlich scheint die Sonne. ☀️"),
    ("Was soll ich heute essen?", "Wie wäre es mit etwas Leckerem? Zum Beispiel: {ufood}. {ufood.emoji}"),
]

KNOW = [
    ("Was ist die Hauptstadt von {country}?", "Die Hauptstadt von {country} ist {country.capital}."),
    ("Wie viel ist {a} plus {b}?", "{a} plus {b} ist {sum}."),
]
