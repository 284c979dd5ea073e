"""English."""
from . import ar, de, es, fr, hi, ja, ru, zh
from .engine import table

JOIN = " "

ANIMALS = table(
    "noun a emoji",
    """
fox | a fox | 🦊
rabbit | a rabbit | 🐰
bear | a bear | 🐻
cat | a cat | 🐱
owl | an owl | 🦉
mouse | a mouse | 🐭
dragon | a dragon | 🐉
turtle | a turtle | 🐢
penguin | a penguin | 🐧
elephant | an elephant | 🐘
hedgehog | a hedgehog | 🦔
squirrel | a squirrel | 🐿️
duck | a duck | 🦆
lion | a lion | 🦁
""",
)

NAMES = table(
    "name g",
    """
Oscar | m
Leo | m
Henry | m
Felix | m
Toby | m
Max | m
Jasper | m
Milo | m
Arthur | m
Finn | m
Bruno | m
Theo | m
Mila | f
Ruby | f
Clara | f
Daisy | f
Luna | f
Nora | f
Hazel | f
Alice | f
Penny | f
Rosie | f
Stella | f
Ivy | f
""",
)

OBJECTS = table(
    "noun emoji",
    """
key | 🔑
kite | 🪁
lantern | 🏮
hat | 🎩
umbrella | ☂️
book | 📖
balloon | 🎈
bell | 🔔
scarf | 🧣
boat | ⛵
drum | 🥁
ring | 💍
""",
)

COLORS = table(
    "name a",
    """
red | a red
blue | a blue
green | a green
yellow | a yellow
white | a white
purple | a purple
golden | a golden
silver | a silver
orange | an orange
pink | a pink
""",
)

PLACES = table(
    "at",
    """
under the old bridge
by the river
behind the mill
in the dark forest
on the green hill
beside the lake
in the apple garden
near the lighthouse
at the edge of the village
inside a hollow tree
next to the waterfall
in a quiet valley
""",
)

FOODS = table(
    "food emoji",
    """
apple pie | 🥧
warm soup | 🍲
honey cake | 🍯
fresh bread | 🍞
strawberries | 🍓
cheese | 🧀
cookies | 🍪
pancakes | 🥞
cherries | 🍒
carrots | 🥕
""",
)

TRAITS = table(
    "word a",
    """
brave | a brave
curious | a curious
clever | a clever
shy | a shy
kind | a kind
cheerful | a cheerful
sleepy | a sleepy
tiny | a tiny
""",
)

CITIES = table(
    "name",
    """
London
Paris
Boston
Dublin
Sydney
Oslo
Toronto
Rome
Chicago
Lisbon
""",
)

COUNTRIES = table(
    "name capital",
    """
France | Paris
Germany | Berlin
Japan | Tokyo
China | Beijing
Spain | Madrid
Italy | Rome
Egypt | Cairo
India | New Delhi
Russia | Moscow
Norway | Oslo
Portugal | Lisbon
Greece | Athens
""",
)

# the animals in the other languages, matched by their emoji
MORE = {
    "word": [
        {"noun": here["noun"], "language": name, "there": there["noun"], "emoji": here["emoji"]}
        for name, module in (
            ("Arabic", ar),
            ("German", de),
            ("Spanish", es),
            ("French", fr),
            ("Hindi", hi),
            ("Japanese", ja),
            ("Russian", ru),
            ("Chinese", zh),
        )
        for here in ANIMALS
        for there in module.ANIMALS
        if here["emoji"] == there["emoji"]
    ]
}

ASK = [
    "[Tell|Please tell] me a [|short |little ]story about {hero.a}.",
    "Tell me a story about {hero.a} named {hname}.",
    "Can you tell me a story about {hero.a} and {color.a} {obj}?",
    "I would like a story about {hero.a} and {friend.a}.",
    "[Write|Tell me] a [bedtime |]story about {hname} the {hero}.",
]

BEGIN = "[[Once upon a time|Long ago|Many years ago], {trait.a} {hero} named {hname} lived {home.at}.\
|[There was once|Once there was] {trait.a} {hero} [called|named] {hname}. {hero?He:She} lived {home.at}.] {hero.emoji}"

PLOTS = [
    [
        BEGIN,
        "{hname} had {color.a} {obj} and [took it everywhere|loved it more than anything|played with it every day]. {obj.emoji}",
        "One [morning|evening|rainy day|windy day], the {obj} was gone!",
        "{hname} looked [in every corner|everywhere], but [could not find it|found nothing], and {hero?he:she} [began to cry|felt very sad|sat down and sighed]. 😢",
        '[Then|Just then|After a while] {friend.a} named {fname} [came by|came along|walked past]. "[Don\'t worry|Do not be sad], {hname}," said {fname}, "[I will help you|we will look together|two pairs of eyes see more than one]." {friend.emoji}',
        "[They searched all day|They walked for hours|Together they searched until sunset], and [at last|finally] they found the {obj} {spot.at}!",
        "{hname} was so [happy|glad] that {hero?he:she} [hugged|thanked] {fname} [|with all {hero?his:her} heart ]and shared some {food} with {friend?him:her}. {food.emoji}",
        "[From that day on|Ever since], {hname} and {fname} were [the best of friends|best friends|always together]. [🌟|❤️|😊|]",
    ],
    [
        BEGIN,
        "One [night|morning|summer day], {hname} found an old map. It showed [a path to a treasure|the way to a secret treasure]. 🗺️",
        "{hero?He:She} [was afraid to go alone|did not want to go alone], so {hero?he:she} asked {friend.a} named {fname} to come along. {friend.emoji}",
        '"[An adventure|A treasure]!" [cried|laughed] {fname}. "[Of course I will come|I will get my boots|Let us go at once]!"',
        "[The way was long|The path was steep|The road was dark], but {fname} [told jokes|sang songs|carried a lamp] and {hname} [was not afraid|felt brave|read the map].",
        "They looked {spot.at} and found a [small|wooden|heavy] box. Inside was {color.a} {obj}! {obj.emoji}",
        '[In the evening|When they came home], they ate {food} and {hname} said: "[The {obj} belongs to both of us|A friend is the best treasure|I could not have done it without you]." {food.emoji}',
        "[And so|And that is how] {hname} and {fname} became [the best of friends|friends forever]. [🌟|❤️|😊|]",
    ],
    [
        BEGIN,
        "{hname} had a good friend, {friend.a} named {fname}. {friend.emoji}",
        "One [cold |winter |]day, {fname} was [ill|sick in bed|very sad] and [could not play|would not even smile]. [🤒|😔]",
        '{hname} [thought about it for a long time|had an idea]. "[I will bring {fname} a present|A present will help]!" {hero?he:she} [said|thought].',
        "{hero?He:She} [walked through the rain|climbed over stones|ran through the wind] and [looked for something beautiful|searched until evening].",
        "{spot.at}, {hname} found {color.a} {obj}. [It shone in the sun|It was just right|How pretty it was]! {obj.emoji}",
        "When {fname} saw the {obj}, {friend?he:she} [laughed|smiled] and felt [better|much better] at once.",
        "Then the two of them ate {food} and [told stories|laughed|sang] until [midnight|the stars came out]. {food.emoji} [🌟|❤️|😊|]",
    ],
]

RECALL = [
    (
        "{hname}",
        "[What was the {hero}'s name|What was the name of the {hero}]?",
        "[The {hero}'s name was {hname}|{hero?His:Her} name was {hname}].",
    ),
    (
        "{fname}",
        "Who was {hname}'s friend?",
        "[{hname}'s friend was {fname} the {friend}|It was {fname} the {friend}]. {friend.emoji}",
    ),
    ("{color}", "What [color|colour] was the {obj}?", "The {obj} was {color}. {obj.emoji}"),
    ("{spot.at}", "Where was the {obj}?", "The {obj} was {spot.at}."),
    ("{home.at}", "Where did {hname} live?", "{hname} lived {home.at}. [🏡|]"),
    ("{food}", "What did they eat?", "They ate {food}. {food.emoji}"),
    ("{obj}", "What did {hname} find?", "{hname} found {color.a} {obj}. {obj.emoji}"),
]

INTRO = [
    (
        "[Hi|Hello]! My name is {uname}. I live in {city} and my favorite color is {ucolor}. I have {upet.a} called {pname}.",
        "[Nice to meet you|Hello], {uname}! {city} is [a beautiful city|a lovely place]. [Say hello to {pname}!|I like {pname} already.] {upet.emoji}",
    ),
    (
        "[Hello|Good morning], I am {uname} from {city}. I have {upet.a}. Its name is {pname}, and it loves everything that is {ucolor}. My favorite color is {ucolor} too.",
        "[Good to meet you|Welcome], {uname}! [That sounds lovely|How nice]. {upet.emoji} [How can I help you?|What would you like to know?]",
    ),
]

REMEMBER = [
    ("{uname}", "[What is my name|Do you remember my name]?", "Your name is {uname}."),
    ("{city}", "[Where do I live|Which city do I live in]?", "You live in {city}. [🏡|]"),
    ("{ucolor}", "What is my favorite color?", "Your favorite color is {ucolor}. [🎨|]"),
    ("{pname}", "What is my pet called?", "Your {upet} is called {pname}. {upet.emoji}"),
    ("{upet}", "What kind of pet do I have?", "You have {upet.a}. {upet.emoji}"),
]

SMALL = [
    ("[Hello|Hi|Hey]!", "[Hello! How can I help you?|Hi there! What can I do for you?] [👋|😊]"),
    ("How are you?", "I am [fine|very well], thank you! [And you?|How are you today?] 😊"),
    ("[Thank you|Thanks][ very much|]!", "You are welcome! [😊|🌟]"),
    ("Who are you?", "I am a very small language model. I like [stories|telling stories]. 📖"),
    ("What can you do?", "I can tell stories and answer [simple|a few] questions. [📖|]"),
    ("Good night!", "Good night! [Sleep well.|Sweet dreams.] 🌙"),
    (
        "Tell me a joke.",
        "[What is orange and sounds like a parrot? A carrot!|Why did the chicken cross the road? To get to the other side!] 😄",
    ),
    (
        "[What is the weather like|How is the weather]?",
        "I cannot see outside, but I hope the sun is shining. ☀️",
    ),
    ("What should I eat today?", "How about {ufood}? {ufood.emoji}"),
]

KNOW = [
    ("What is the capital of {country}?", "The capital of {country} is {country.capital}."),
    ("[What is|How much is] {a} plus {b}?", "{a} plus {b} is {sum}."),
    (
        'How do you say "{word}" in {word.language}?',
        '"{word}" in {word.language} is "{word.there}". {word.emoji}',
    ),
    ("Which city is the capital of {country}?", "{country.capital} is the capital of {country}."),
]
